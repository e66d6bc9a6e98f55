print("bom")
raise ValueError
