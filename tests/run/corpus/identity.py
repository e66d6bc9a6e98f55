"""What a program can ask about itself."""
import os
import sys

import __main__

print(sys.argv, sys.path[0], __file__, __name__, __doc__, __package__, __spec__, __cached__)
print(list(globals()))
print(__builtins__, type(__loader__).__name__, __loader__.name, __loader__.path, __annotations__)
print(__main__ is sys.modules["__main__"], vars(__main__) is globals(), __main__)
print(sys.excepthook is sys.__excepthook__, sys.flags, os.getcwd(), len(sys.warnoptions))
x: int = 1
print(__annotations__)
