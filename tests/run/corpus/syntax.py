print("never")
if x
    pass
