"""Stands in for `lineshaft.futures`: the standard executors, recognizable by their module.

They derive from the classes that are being served, as an implementation might.
"""

import concurrent.futures
import multiprocessing


class ProcessPoolExecutor(concurrent.futures.ProcessPoolExecutor):
    def __init__(
        self,
        max_workers=None,
        mp_context=None,
        initializer=None,
        initargs=(),
        *,
        max_tasks_per_child=None,
        **_ours,
    ):
        context = multiprocessing.get_context("spawn" if max_tasks_per_child else "fork")
        super().__init__(max_workers, context, initializer, initargs, max_tasks_per_child=max_tasks_per_child)

    def shutdown(self, wait=True, *, cancel_futures=False):
        # Always to its end: otherwise it may close a pipe while the exit handler of CPython writes to it.
        super().shutdown(wait=True, cancel_futures=cancel_futures)

    def terminate_workers(self):
        for process in list((self._processes or {}).values()):
            process.terminate()


class ThreadPoolExecutor(concurrent.futures.ThreadPoolExecutor):
    pass
