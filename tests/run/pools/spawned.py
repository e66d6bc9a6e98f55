import builtins
import decimal
import functools
import json
import multiprocessing
import queue
import sys
import threading
from concurrent.futures import ProcessPoolExecutor

# What workers under `spawn` and `forkserver` have because they import this module.
decimal.getcontext().prec = 50
json.dumps = lambda *args, **kwargs: "patched"
builtins.answer = 42
sys.setrecursionlimit(2345)

LOCK, EVENT, QUEUE, LOCAL = threading.Lock(), threading.Event(), queue.Queue(), threading.local()
SHARED = multiprocessing.Lock()
GENERATOR = (i for i in range(3))
MISSING = object()
value = None


def serialized(function):
    lock = threading.Lock()

    @functools.wraps(function)
    def inner(*args):
        with lock:
            return function(*args)

    return inner


class Counter:
    _lock = threading.Lock()
    count = 0

    def add(self, n):
        with self._lock:
            self.count += n
        return self


class Point:
    def __init__(self, x):
        self.x = x

    def __repr__(self):
        return f"Point({self.x})"


class Guarded:
    def __init__(self):
        self.lock = threading.Lock()
        self.point = Point(1)


GUARDED = Guarded()


def set_up(new):
    global value
    value = new


def settings(_):
    return str(decimal.Decimal(1) / 3), json.dumps(1), answer, sys.getrecursionlimit()  # noqa: F821


def objects(x, default=MISSING):
    with LOCK, SHARED, GUARDED.lock:
        EVENT.set()
        QUEUE.put(x)
        LOCAL.x = QUEUE.get()
    return LOCAL.x, next(GENERATOR), EVENT.is_set(), default is MISSING, type(GUARDED.point) is Point, value


@serialized
def negative(x):
    return -x


def count(counter, n):
    return type(counter) is Counter, counter.add(n).count


def identity(_):
    process = multiprocessing.current_process()
    name = process.name.rpartition("-")[0]
    return name, process.daemon, len(process._identity), multiprocessing.get_start_method()


def number():
    process = multiprocessing.current_process()
    return process.name, process._identity


def kinds(point):
    return isinstance(point, Point), Point(point.x + 1)


def main():
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(1, set_up, (7,)) as pool:
            print(pool.map(settings, [1]), pool.map(objects, [1, 2]), pool.map(negative, [1]), pool.map(identity, [1]))
            print(pool.apply(count, (Counter(), 3)), pool.apply(Counter().add, (2,)).count, pool.apply(kinds, (Point(1),)))
            print(isinstance(pool.apply(Point, (1,)), Point))
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            for function in (settings, objects, negative, identity):
                print(list(executor.map(function, [1])))
    with ProcessPoolExecutor(1, max_tasks_per_child=5) as executor:
        print(list(executor.map(objects, [1, 2])), executor.submit(kinds, Point(1)).result())


if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.apply(number))
    main()
