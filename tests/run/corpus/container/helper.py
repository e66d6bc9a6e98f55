def fail():
    raise ValueError("from a helper")
