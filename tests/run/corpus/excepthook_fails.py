import sys


def hook(*args):
    return args[0] / 0


sys.excepthook = hook
raise ValueError("original")
