"""Stands in for `lineshaft._threads`."""

from lineshaft.futures import ThreadPoolExecutor


class Threads(ThreadPoolExecutor):
    def __init__(self, max_workers=None, *, initializer=None, initargs=(), _is_of_pool=False):
        super().__init__(max_workers, initializer=initializer, initargs=initargs)
