import sys; print("init", sys.argv)
