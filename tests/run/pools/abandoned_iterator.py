"""An iterator over results that is still there when the interpreter takes its modules down."""

import multiprocessing
import os

if __name__ == "__main__":
    with multiprocessing.Pool(1) as pool:
        results = pool.imap(abs, range(-3, 3))
        print(next(results))
    # The interpreter takes down this module after those that were imported later.
    os.kept = results
