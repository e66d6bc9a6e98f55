import sys

from . import inner

print(sys.argv, sys.path[0], __file__, __name__, __package__, __spec__.name, inner.__name__)
sys.exit(3)
