"""Dask's progress bar, for graphs that run in the engine.

The bar asks now and then how many tasks there are and how many have ended. It is told that by a
mapping that looks it up when asked, so that a bar costs tasks nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lineshaft._modules import imported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lineshaft import _native


def is_bar(callback: tuple[Callable[..., object] | None, ...]) -> bool:
    """Whether a callback is Dask's progress bar, and not one that a program has changed."""
    module = imported("dask.diagnostics.progress")
    if module is None:
        return False
    bar: Any = getattr(callback[0], "__self__", None)
    return type(bar) is module.ProgressBar and bar._callback == callback


class Bars:
    """Progress bars around a graph that runs; a context manager.

    Parameters
    ----------
    callbacks
        Of the bars.
    nodes
        The tasks by key, which bars are shown.
    """

    def __init__(self, callbacks: Iterable[tuple[Callable[..., Any] | None, ...]], nodes: dict[Any, Any]) -> None:
        self._callbacks = list(callbacks)
        self._nodes = nodes
        self._started: list[tuple[Callable[..., Any] | None, ...]] = []
        self._state: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        for callback in self._callbacks:
            if callback[0]:
                callback[0](self._nodes)
            self._started.append(callback)
        return self

    def submitted(self, run: _native.GraphRun) -> None:
        """Show the progress of `run` from now on."""
        self._state = {
            "finished": _Count(lambda: len(run) - run.unfinished()),
            "running": _Count(run.unfinished),
            "ready": (),
            "waiting": (),
        }
        for _, start_state, pretask, _, _ in self._callbacks:
            if start_state:
                start_state(self._nodes, self._state)
            if pretask:
                pretask(None, self._nodes, self._state)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for callback in self._started:
            if callback[4]:
                callback[4](self._nodes, self._state, kind is not None)
        self._state.clear()


class _Count:
    """A collection of which only the length is known."""

    def __init__(self, count: Callable[[], int]) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count()
