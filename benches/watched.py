"""What it costs to be watched: the same tasks with and without a reader of the dashboard's events."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

from benches.measure import WORKERS, Measure, Target
from benches.tasks import noop

TASKS = 100_000
CLOSED, OPEN = "lineshaft, page closed", "lineshaft, page open"

#: Reads events and asks for the timeline as the page does, in a process of its own as a browser is.
READER = """
import sys, threading, time, urllib.request
url = sys.argv[1]
def timeline():
    while True:
        urllib.request.urlopen(url + "/api/timeline?from_s=0&to_s=60&columns=1200").read()
        time.sleep(0.4)
threading.Thread(target=timeline, daemon=True).start()
events = urllib.request.urlopen(url + "/api/events")
print("reading", flush=True)
while events.read1():
    pass
"""


def _rate(*, watched: bool) -> float:
    import lineshaft as ls

    with ls.Engine(workers=WORKERS) as engine:
        engine.submit(noop, 0).result()
        reader = None
        if watched:
            command = [sys.executable, "-c", READER, engine.dashboard_url]
            reader = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert reader.stdout is not None
            assert reader.stdout.readline() == b"reading\n"
        start = time.perf_counter()
        futures = [engine.submit(noop, number) for number in range(TASKS)]
        assert all(future.result() == number for number, future in enumerate(futures))
        rate = TASKS / (time.perf_counter() - start)
        if reader is not None:
            reader.kill()
            reader.communicate()
    return rate


MEASURES = [
    Measure(
        name="watched",
        title=f"{TASKS:,} no-op tasks while somebody watches the timeline",
        unit="tasks/s",
        better="higher",
        contestants={CLOSED: partial(_rate, watched=False), OPEN: partial(_rate, watched=True)},
        targets=[Target(ours=OPEN, peer=CLOSED, at_least=0.95)],
    )
]
