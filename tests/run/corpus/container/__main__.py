import sys

import helper

print(sys.argv, sys.path[0], __file__, __name__, repr(__package__), __spec__.name, helper.__file__)
helper.fail()
