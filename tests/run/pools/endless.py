import itertools
from multiprocessing.pool import Pool, ThreadPool


def half(x):
    return x / 2


if __name__ == "__main__":
    for make in (Pool, ThreadPool):
        with make(2) as pool:
            print(list(itertools.islice(pool.imap(half, itertools.count()), 5)))
