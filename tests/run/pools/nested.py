from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import Pool


def inner(x):
    return x + 1


def outer(x):
    with ThreadPoolExecutor(2) as executor:
        return sum(executor.map(inner, range(x)))


if __name__ == "__main__":
    with ProcessPoolExecutor(2) as executor:
        print(list(executor.map(outer, range(5))))
