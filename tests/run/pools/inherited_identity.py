"""Worker processes are to `multiprocessing` what they are in the standard library's pools."""

import collections
import multiprocessing as mp
import os
from concurrent.futures import ProcessPoolExecutor


def who(_=None):
    me, parent = mp.current_process(), mp.parent_process()
    return type(me).__name__, me.name, me._identity, me.daemon, parent.name, parent.pid == PROGRAM, parent.is_alive()


def key(_=None):
    return bytes(mp.current_process().authkey), mp.get_start_method()


def part(words):
    parts = collections.defaultdict(list)
    for word in words:
        parts[hash(word) % 4].append(word)
    return dict(parts)


PROGRAM = os.getpid()

if __name__ == "__main__":
    with mp.Pool(1) as pool:
        print(pool.apply(who))
        print(pool.apply(key) == key())
        words = [f"w{i}" for i in range(100)]
        print(pool.apply(part, (words,)) == part(words))
    with mp.Pool(1) as pool, ProcessPoolExecutor(1) as executor:
        print(pool.apply(who), executor.submit(who).result())
    print(mp.Process().name, who.__module__)
