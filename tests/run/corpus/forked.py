import atexit
import os
import sys

atexit.register(print, "bye")
sys.stdout.flush()
if os.fork() == 0:
    sys.exit(4)
print(os.waitstatus_to_exitcode(os.wait()[1]))
