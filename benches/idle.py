"""A pool without work: it should not use the processor."""

from __future__ import annotations

import time
from functools import partial

from benches import pools, usage
from benches.measure import Measure, Target
from benches.tasks import noop

SECONDS = 2.0
#: Half a thousandth of one core.
CPU_MS_MAX = 1.0


def _idle_ms(name: str) -> float:
    with pools.executor(name) as pool:
        for future in [pool.submit(noop, i) for i in range(1000)]:
            future.result()
        time.sleep(0.5)
        return usage.cpu_over(SECONDS)


MEASURES = [
    Measure(
        name="idle",
        title=f"processor time of an idle pool and its workers over {SECONDS:g} s, after 1,000 tasks",
        unit="ms",
        contestants={
            name: partial(_idle_ms, name)
            for name in (pools.LINESHAFT_PROCESSES, pools.LINESHAFT_THREADS, pools.PROCESS_POOL, pools.LOKY)
        },
        targets=[
            Target(ours=pools.LINESHAFT_PROCESSES, at_most=CPU_MS_MAX),
            Target(ours=pools.LINESHAFT_THREADS, at_most=CPU_MS_MAX),
        ],
        repeat_max=3,
    )
]
