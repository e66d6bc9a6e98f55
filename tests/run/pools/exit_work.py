"""What processes have begun is done when they end: queues, finalizers, threads, files, hooks."""

import atexit
import multiprocessing
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.util import Finalize
from pathlib import Path

ITEMS = 20


def begin(queue, folder):
    global written, unwritten, ends
    ends = threading.Event()
    Finalize(None, ends.set, exitpriority=10)
    written = queue
    unwritten = Path(folder, f"file-{multiprocessing.current_process().pid}").open("w")
    atexit.register(note, folder, "hook")
    Finalize(None, note, (folder, "finalizer"), exitpriority=10)


def note(folder, what):
    with Path(folder, what).open("a") as notes:
        notes.write("x")


def outlive(folder):
    ends.wait()
    note(folder, "thread")


def work(folder):
    threading.Thread(target=outlive, args=(folder,)).start()
    unwritten.write("x")
    for _ in range(ITEMS):
        written.put(b"x" * 100_000)


def in_executor(context, initargs, folder):
    with ProcessPoolExecutor(1, mp_context=context, initializer=begin, initargs=initargs) as executor:
        executor.submit(work, folder).result()
    return 1


def in_pool(context, initargs, folder):
    with context.Pool(1, begin, initargs) as pool:
        pool.apply(work, (folder,))
        pool.close()
        pool.join()
    return 1


def in_replaced(context, initargs, folder):
    with context.Pool(1, begin, initargs, maxtasksperchild=1) as pool:
        pool.map(work, [folder] * 3, chunksize=1)
        pool.close()
        pool.join()
    return 3


def drain(queue, sizes):
    while (item := queue.get()) is not None:
        sizes.append(len(item))


def main():
    for method in ("fork", "forkserver", "spawn"):
        context = multiprocessing.get_context(method)
        for way in (in_executor, in_pool, in_replaced):
            queue, sizes = context.Queue(), []
            reader = threading.Thread(target=drain, args=(queue, sizes))
            with tempfile.TemporaryDirectory() as folder:
                reader.start()
                count = way(context, (queue, folder), folder)
                queue.put(None)
                reader.join()
                print(method, way.__name__, len(sizes) == count * ITEMS)
                done = Counter()
                for path in Path(folder).iterdir():
                    done[path.name.split("-")[0]] += len(path.read_text())
                # The standard pool may start one more process than it has work for, and under `fork` that of a
                # replacement may not wait for its threads.
                if way is in_replaced and method == "fork":
                    del done["thread"]
                print(*sorted((what, min(times, count)) for what, times in done.items()))


if __name__ == "__main__":
    main()
    sys.stdout.flush()
