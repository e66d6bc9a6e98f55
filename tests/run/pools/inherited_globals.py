"""Workers see the globals of the program as they were when the pool was made."""

from multiprocessing import Pool

config, items, count = {}, [], 0
MISSING = object()


class Model:
    weight = 0


model = Model()


def read(_):
    return config, len(items), count, Model.weight, model.__dict__


def write(x):
    global count
    count += 1
    config[x] = x
    return count, sorted(config, key=str)


def is_missing(_, value=MISSING):
    return value is MISSING


if __name__ == "__main__":
    for step in range(3):
        config["scale"] = step
        items.append(step)
        count = 10 * step
        Model.weight = step
        model.own = step
        with Pool(2) as pool:
            config["later"] = items = count = "not seen by the pool"
            print(pool.map(read, range(3)), pool.map(is_missing, [0]))
        del config["later"]
        items = [step]
    count = 0
    with Pool(1) as pool:
        print(pool.map(write, range(3)))
        config = count = "not seen either"
        print(pool.map(write, range(3)))
        print(pool.apply(read, (0,))[0])
    print(config, count)
