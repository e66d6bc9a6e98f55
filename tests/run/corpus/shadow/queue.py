import queue

print("queue is", queue.__file__, __name__)
