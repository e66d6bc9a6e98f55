import sys; print(sys.path[0]); import helper
