"""`Singles`: each batch is a task of its own."""

from __future__ import annotations

from lineshaft import _native
from lineshaft._serial.parent import all_or_nothing
from lineshaft.joblib.mapped import by_name
from lineshaft.joblib.run import Batch, Run, to_be_raised, was_killed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Singles"]


class Singles(Run):
    """Batches as single tasks. Several threads may hand them over; one settles them."""

    def __init__(self, *args: Any, options: _native.TaskOptions | None = None, **others: Any) -> None:
        super().__init__(*args, **others)
        self._options = options
        #: Batches that are with the engine, and their futures as soon as there are any.
        self._open: dict[Batch, Any] = {}

    def close(self) -> None:
        """Drop what is not done."""
        super().close()
        futures = [future for future in list(self._open.values()) if future is not None]
        self._open.clear()
        if futures:
            _native.cancel_running(futures)

    def _hand_over(self, batch: Batch, when_done: Callable[[Batch], object]) -> None:
        """Submit a batch; `when_done` is called with it, on a thread of the engine."""
        if batch.error is not None:
            raise batch.error
        self._open[batch] = None
        try:
            if batch.kept is not None:
                future = batch.kept.submit(self._options)
            else:
                runner, arguments = self._call_of(batch.calls)
                with by_name(), all_or_nothing():
                    future = self._pool.submit(runner, arguments, None, self._options)
        except BaseException:
            self._open.pop(batch, None)
            raise
        self._open[batch] = future
        if self._aborted:
            _native.cancel_running([future])  # it was too late for `close`
            return
        _native.when_done(future, lambda _: when_done(batch))

    def _settle(self, batch: Batch, when_done: Callable[[Batch], object]) -> bool:
        """Take over the outcome of a batch that has ended; False if nobody wants it, or if it runs again."""
        future = self._open.pop(batch, None)
        if future is None:
            return False
        try:
            batch.value = future.result()
        except BaseException as error:
            if not self._aborted and batch.deaths < self._surroundings.retries and was_killed(error):
                batch.deaths += 1
                self._hand_over(batch, when_done)
                return False
            batch.error = to_be_raised(error, [batch])
        batch.kept = None
        batch.is_done = True
        return True

    def _tell(self, batch: Batch) -> None:
        """Have joblib dispatch what is next."""
        if batch.callback is not None and not self._aborted:
            batch.callback(batch)
