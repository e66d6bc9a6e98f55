"""Workers of an executor see the program as it is when the first call is submitted."""

import multiprocessing as mp
from concurrent.futures import ProcessPoolExecutor

state = []


def read():
    return list(state)


def start(lock):
    global inherited
    inherited = lock


def locked(x):
    with inherited:
        return x


if __name__ == "__main__":
    for step in range(3):
        with ProcessPoolExecutor(2, mp_context=mp.get_context("fork") if step else None) as executor:
            state.append(step)
            print(executor.submit(read).result())
            state.append("not seen")
            print(executor.submit(read).result())
    with ProcessPoolExecutor(2, initializer=start, initargs=(mp.Lock(),)) as executor:
        print(list(executor.map(locked, range(5))))
