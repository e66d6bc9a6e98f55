import argparse
import random
import runpy
import signal
import string
import typing

print([module.__file__ for module in (argparse, random, runpy, signal, string, typing)])
