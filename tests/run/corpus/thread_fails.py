import threading

thread = threading.Thread(target=lambda: 1 / 0, name="named")
thread.start()
thread.join()
