import multiprocessing
import multiprocessing.dummy
import multiprocessing.pool

table = None


def set_up(value):
    global table
    table = value


def look_up(i):
    return table[i]


def add(x, y):
    return x + y


def callback(value):
    print("callback", value)


if __name__ == "__main__":
    with multiprocessing.Pool(2, set_up, ([3, 4, 5],)) as pool:
        print(pool.map(look_up, [0, 1, 2]))
        print(list(pool.imap(look_up, iter([2, 1, 0]))))
        print(sorted(pool.imap_unordered(look_up, [2, 1, 0], chunksize=2)))
        print(pool.starmap(add, [(1, 2), (3, 4)]))
        print(pool.apply(add, (1,), {"y": 1}))
        result = pool.apply_async(add, (1, 2), callback=callback)
        print(result.get(), isinstance(result, multiprocessing.pool.AsyncResult))
        try:
            pool.map(look_up, [0, 7])
        except IndexError as error:
            print(repr(error))
    for make in (multiprocessing.pool.ThreadPool, multiprocessing.dummy.Pool, multiprocessing.get_context("spawn").Pool):
        pool = make(2)
        print(pool.map(abs, range(-3, 0)))
        pool.close()
        pool.join()
        try:
            pool.map(abs, [1])
        except ValueError as error:
            print(error)
