import sys

print(input("prompt "), sys.stdin.read().split(), sys.stdin.isatty())
input()
