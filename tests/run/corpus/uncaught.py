def outer(n):
    return inner(n) if n else None + 1


def inner(n):
    try:
        return outer(n - 1)
    except TypeError as error:
        raise LookupError(n) from error


try:
    {}["missing"]
except KeyError:
    outer(3)
