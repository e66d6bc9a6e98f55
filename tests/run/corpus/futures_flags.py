# Annotations are evaluated unless the program says otherwise.
def f(x: print("evaluated")):
    return x


f(1)
