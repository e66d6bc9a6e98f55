from multiprocessing import Pool


def fail(x):
    return 1 // x


if __name__ == "__main__":
    with Pool(1) as pool:
        try:
            pool.map(fail, [1, 0])
        except ZeroDivisionError as error:
            print(error, 'return 1 // x' in str(error.__cause__))
    raise SystemExit(3)
