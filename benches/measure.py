"""What a measure is: contestants that each yield one sample, and targets that compare them.

Absolute times drift with the machine and with whatever else runs on it, so every target is a ratio between two
contestants of the same run (or a bound that does not depend on speed, such as bytes). A sample is taken in an
interpreter of its own: no pool, thread or memory of one contestant is there when the next one runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

#: Every contestant gets this many workers.
WORKERS = 2


@dataclass(frozen=True, kw_only=True)
class Target:
    """A promise about one contestant.

    Attributes
    ----------
    ours
        The contestant that promises.
    peer
        The one that it is compared with; without one, the sample itself is bounded.
    at_least
        How many times better than the peer it must be.
    at_most
        Which multiple of the peer's value, or which value, it may not exceed.
    """

    ours: str
    peer: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def ratio(self, medians: dict[str, float], *, better: Literal["higher", "lower"]) -> float | None:
        """Return what the promise is about, or None if one of the two could not run."""
        ours, peer = medians.get(self.ours), 1.0 if self.peer is None else medians.get(self.peer)
        if ours is None or peer is None:
            return None
        inverse = self.at_least is not None and better == "lower"
        above, below = (peer, ours) if inverse else (ours, peer)
        return above / below if below else math.inf

    def holds(self, ratio: float | None) -> bool:
        """Tell whether the promise is kept."""
        if ratio is None:
            return False
        return ratio >= self.at_least if self.at_least is not None else ratio <= (self.at_most or 0.0)

    def __str__(self) -> str:
        bound = f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        return f"{bound} times {self.peer}" if self.peer else bound


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One question to all contestants.

    Attributes
    ----------
    name
        What ``--only`` takes.
    title
        What is done, in a line.
    unit
        The unit of every sample.
    contestants
        What takes one sample, by the name it has in the table. It imports what it needs itself: an ImportError means
        that the contestant is not installed.
    better
        Whether a higher or a lower sample is better.
    targets
        The promises.
    repeat_max
        Fewer samples than asked for, where one is dear and does not vary.
    timeout_s
        After this time a sample counts as failed.
    """

    name: str
    title: str
    unit: str
    contestants: dict[str, Callable[[], float]]
    better: Literal["higher", "lower"] = "lower"
    targets: list[Target] = field(default_factory=list)
    repeat_max: int = 100
    timeout_s: float = 180.0
