import atexit
import sys
import threading


class Late:
    def __del__(self):
        print("deleted", flush=True)


late = Late()
atexit.register(print, "first registered")
atexit.register(lambda: print(sys.excepthook is sys.__excepthook__))
threading.Thread(target=lambda: (threading.main_thread().join(), print("thread"))).start()
print("end of main")
raise ValueError
