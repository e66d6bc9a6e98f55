"""Workers see settings of libraries and of the process, and modules that exist in the program only."""

import decimal
import json
import math
import os
import socket
import sys
import types
import warnings
from multiprocessing import Pool

made = types.ModuleType("made")
exec("K = 3\ndef g(x): return x + K", made.__dict__)
sys.modules["made"] = made

decimal.getcontext().prec = 5
sys.setrecursionlimit(5000)
warnings.simplefilter("error")
socket.setdefaulttimeout(3)
math.constant = 42
json.loads = len
os.umask(0o077)


def settings(_):
    import made as there

    try:
        warnings.warn("x", stacklevel=1)
        warned = "shown"
    except UserWarning:
        warned = "raised"
    mask = os.umask(0)
    os.umask(mask)
    return (
        str(decimal.Decimal(1) / 3),
        sys.getrecursionlimit(),
        warned,
        socket.getdefaulttimeout(),
        math.constant,
        json.loads("four"),
        mask,
        there.K,
    )


if __name__ == "__main__":
    made.K = 5
    with Pool(1) as pool:
        print(*pool.apply(settings, (0,)), sep="\n")
        print(pool.map(made.g, range(3)))
