"""joblib and scikit-learn on the engine: `import lineshaft.joblib` registers the backend ``"lineshaft"``.

joblib itself is not imported for that: the backend is there as soon as it is.

Layout: `backend.py` is what joblib talks to; `run.py` and the files of its four ways, `waiting.py`,
`announcing.py`, and inside tasks (`inside.py`) `sharing.py` and `joining.py`, run the batches of one ``Parallel``
call; `asleep.py` looks whether their threads sleep; `pools.py` chooses where;
`batch.py` is what workers run, `results.py` what they send back; `copies.py` copies small arguments, so that
calls travel together; `mapped.py` keeps arrays that are mapped files what they are; `limits.py` keeps the
threads of numerical libraries within the budget; `ending.py` is for daemon threads when the program ends.
Only `backend.py` and `died.py`, an error, import joblib; the first is imported when joblib is, so a worker
whose tasks do not use it pays nothing.
"""

from __future__ import annotations

from lineshaft import _patch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["NAME"]

#: What the backend is called in `joblib.parallel_config`.
NAME = "lineshaft"


def _register(parallel: ModuleType) -> None:
    """Add the backend to those that joblib knows; if a batch is running, make it the active one."""
    from lineshaft.joblib import backend, batch

    parallel.BACKENDS[NAME] = backend.LineshaftBackend
    batch.set_config(parallel)


_patch.when_imported("joblib.parallel", _register)
