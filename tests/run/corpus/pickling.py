import pickle
import sys


class Point:
    pass


def function():
    pass


print(pickle.loads(pickle.dumps(Point)) is Point, pickle.loads(pickle.dumps(function)) is function)
print(Point.__module__, sys.modules["__main__"].Point is Point)
