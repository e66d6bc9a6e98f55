import os
import signal

try:
    os.kill(os.getpid(), signal.SIGINT)
    while True:
        pass
except KeyboardInterrupt:
    print("handled")
signal.signal(signal.SIGINT, lambda *a: print("handler", a[0]))
os.kill(os.getpid(), signal.SIGINT)
