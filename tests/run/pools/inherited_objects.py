"""Locks, queues and shared values reach the workers through globals and through initargs; managers too."""

import multiprocessing as mp
import os
import threading
from functools import partial

total = mp.Value("i", 0)
queue = mp.Queue()
guard = threading.Lock()
reader, writer = os.pipe()


def count(x):
    with total.get_lock():
        total.value += x
    queue.put(x)
    with guard:
        os.write(writer, b"x")
    return x


def take(*objects):
    global squares, raw, event, barrier, lock
    squares, raw, event, barrier, lock = objects


def use(x):
    with lock:
        squares[x] = x * x
        raw[x] = x
    if x == 5:
        event.set()
    barrier.wait(30)
    return x


def tell(names, lock, queue, x):
    with lock:
        names[x] = x * x
        names["n"] = names.get("n", 0) + 1
    queue.put(x)


if __name__ == "__main__":
    with mp.Pool(2) as pool:
        print(sum(pool.map(count, range(50))), total.value, sum(queue.get(timeout=30) for _ in range(50)))
    print(os.read(reader, 100))
    objects = mp.Array("d", 8), mp.RawArray("i", 8), mp.Event(), mp.Barrier(2), mp.Lock()
    with mp.Pool(2, take, objects) as pool:
        print(pool.map(use, range(8), 1), list(objects[0]), list(objects[1]), objects[2].is_set())
    with mp.Manager() as manager, mp.Pool(2) as pool:
        names, told = manager.dict(), manager.Queue()
        pool.map(partial(tell, names, manager.Lock(), told), range(20))
        print(sorted(names.items(), key=str), told.qsize())
