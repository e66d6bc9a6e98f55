from . import __name__ as name; print(name)
