"""`Traced`: what came of a trace."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Traced"]


class Traced(NamedTuple):
    """What is in a trace, and what is not.

    Parameters
    ----------
    attempts
        Attempts of tasks that are in it.
    attempts_missing
        Attempts that are not: they are older than what is kept, or their beginning was missed.
    events_missed
        Events that were overwritten before they were read. Of what they told nothing is known.
    """

    attempts: int
    attempts_missing: int
    events_missed: int

    def __str__(self) -> str:
        text = f"{self.attempts:,} attempts"
        if self.attempts_missing:
            text += f", without {self.attempts_missing:,} that were too many to keep"
        if self.events_missed:
            text += f"; {self.events_missed:,} events were missed"
        return text
