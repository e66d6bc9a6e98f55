"""A program does not wait for calls that daemon threads of it have made, and these say nothing of its end."""

import pytest
from tests.joblib.test_run import run

DAEMON = """
import itertools, os, threading, time
from joblib import Parallel, delayed

begun = os.path.join(os.path.dirname(os.path.abspath(__file__)), "begun")

def call(n):
    open(begun, "w").close()
    time.sleep(0.01)

def call_for_ever():
    Parallel(n_jobs=2, backend="BACKEND")(delayed(call)(n) for n in itertools.count())

def call_again_and_again():
    while True:
        Parallel(n_jobs=2, backend="BACKEND")(delayed(call)(n) for n in range(4))

for target in (call_for_ever, call_again_and_again, call_again_and_again):
    threading.Thread(target=target, daemon=True).start()
while not os.path.exists(begun):
    time.sleep(0.01)
print("end", flush=True)
"""


@pytest.mark.parametrize("backend", ["lineshaft", "loky", "multiprocessing", "threading"])
def test_the_end_of_a_program(tmp_path, backend):
    program = ("import lineshaft.joblib\n" if backend == "lineshaft" else "") + DAEMON.replace("BACKEND", backend)
    options = ("--no-summary", "--no-dashboard")
    done = run(program, tmp_path, *options) if backend != "lineshaft" else run(program, tmp_path, runner=())
    assert (done.stdout, done.stderr, done.returncode) == ("end\n", "", 0)
