"""The death of a worker as joblib's own backend calls it, too; apart because that is in a module slow to import."""

from __future__ import annotations

from joblib.externals.loky.process_executor import TerminatedWorkerError

from lineshaft import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["TerminatedWorkerError", "WorkerDied"]


class WorkerDied(errors.WorkerDied, TerminatedWorkerError):  # type: ignore[misc]  # noqa: N818 - as the others
    """Both errors, for programs that catch either. It looks like Lineshaft's."""

    __module__ = "lineshaft.errors"

    def __reduce__(self) -> tuple[Any, ...]:
        return _died, self.args, self.__dict__


def _died(*args: Any) -> WorkerDied:
    # By a name that is found: the class says that it is from another module.
    return WorkerDied(*args)
