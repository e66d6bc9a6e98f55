import atexit
import sys
import threading
import time


class Late:
    def __del__(self):
        print("deleted", flush=True)


late = Late()
atexit.register(print, "first registered")
atexit.register(lambda: print(sys.excepthook is sys.__excepthook__))
threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
print("end of main")
raise ValueError
