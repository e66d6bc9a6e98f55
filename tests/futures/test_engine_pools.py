"""Calls on an engine share its pools, of which it opens one of each kind and size."""

import threading

import lineshaft as ls


class WatchedLock:
    """A lock that knows who has asked for it."""

    def __init__(self, lock, told: threading.Condition, wanted: set[int]) -> None:
        self.lock, self.told, self.wanted = lock, told, wanted

    def __enter__(self) -> None:
        with self.told:
            self.wanted.add(threading.get_ident())
            self.told.notify_all()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_two_threads_that_want_the_same_pool_get_the_same():
    told = threading.Condition()
    wanted: set[int] = set()
    opening: list[int] = []
    with ls.Engine(workers=1) as engine:
        open_threads = engine._open_threads

        def open_slowly(*args, **options):
            with told:
                opening.append(threading.get_ident())
                told.notify_all()
                assert told.wait_for(lambda: len(wanted.union(opening)) == 2, 30)
            return open_threads(*args, **options)

        engine._open_threads = open_slowly
        engine._lock = WatchedLock(engine._lock, told, wanted)
        got = []
        threads = [threading.Thread(target=lambda: got.append(engine._pool("threads", 3))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(opening) == 1
        assert got[0] is got[1]
