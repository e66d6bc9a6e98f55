#!/usr/bin/env python
print("crlf")
raise ValueError
