import concurrent.futures as cf
import os
import threading


def square(x):
    return x * x


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(self) is type(other) and self.x == other.x


def swap(point):
    assert isinstance(point, Point)
    return Point(-point.x)


def fail(x):
    raise ValueError(x)


if __name__ == "__main__":
    with cf.ProcessPoolExecutor(2) as executor:
        print(list(executor.map(square, range(10))))
        print(list(executor.map(square, range(10), chunksize=3)))
        print(executor.submit(swap, Point(3)).result() == Point(-3))
        futures = [executor.submit(fail, i) for i in range(3)]
        done, _ = cf.wait(futures)
        print(sorted(str(f.exception()) for f in done), isinstance(futures[0], cf.Future))
        print(executor.submit(os.getpid).result() != os.getpid())
    with cf.ThreadPoolExecutor(2) as executor:
        print(executor.submit(threading.current_thread).result() is not threading.main_thread())
        print(sorted(f.result() for f in cf.as_completed([executor.submit(square, i) for i in range(5)])))
    try:
        executor.submit(square, 1)
    except RuntimeError as error:
        print(error)
