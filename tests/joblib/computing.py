"""How many worker processes compute at the same time."""

import os
from pathlib import Path

from tests.events import eventually

#: Processor time after which it is clear who computes, in seconds.
ENOUGH_S = 1.0
#: Who has had less than this part of it has only been woken up now and then.
PART_MIN = 0.05


def computed_s(pid):
    """Return the processor time that a process has used, all its threads together."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def watch(engine):
    """Wait until the workers together have computed for a while; return for how long each of them did."""

    def now():
        return {pid: computed_s(pid) for _, pid in engine._native.stats()["workers"]}

    def since():
        shares = [computed - before.get(pid, 0) for pid, computed in now().items()]
        return shares if sum(shares) >= ENOUGH_S else None

    before = now()
    return eventually(since, "the workers compute")


def count_computing(engine):
    """Return how many of the workers compute, once all that may have started."""
    watch(engine)
    return sum(share >= PART_MIN * ENOUGH_S for share in watch(engine))
