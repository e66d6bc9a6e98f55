import sys


def hook(kind, error, trace):
    frames = []
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    print("hook", kind.__name__, error, frames, error.__traceback__ is sys.last_traceback, sys.last_value is error)
    print(sys.excepthook is hook)


def fail():
    raise ValueError("caught by the hook")


sys.excepthook = hook
fail()
