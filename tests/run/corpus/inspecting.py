import inspect


def f():
    return inspect.currentframe().f_back.f_code.co_name


print(inspect.getsource(f), inspect.getfile(f), f(), inspect.getmodule(f))
