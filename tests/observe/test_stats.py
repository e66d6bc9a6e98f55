"""What `lineshaft.default_engine_stats` says, for the summary of ``lineshaft run``."""

import re
import subprocess
import sys

import pytest


def printed_by(program, folder, options):
    """Run a program under ``lineshaft run``; return the number that it prints."""
    (folder / "program.py").write_text(program)
    command = [sys.executable, "-m", "lineshaft", "run", *options, "program.py"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


PROGRAM = """
import multiprocessing
import lineshaft

def fill(mib):
    return len(bytearray(b"x") * (mib << 20))

if __name__ == "__main__":
    with multiprocessing.Pool(1, maxtasksperchild=1) as pool:
        pool.map(fill, [200] * 4, chunksize=1)
    pool.join()
    print(lineshaft.default_engine_stats()["peak_memory_bytes"] >> 20)
"""


@pytest.mark.parametrize("options", [["--no-dashboard"], []])
def test_peak_memory_is_that_of_workers_that_have_ended_too(tmp_path, options):
    mib = printed_by(PROGRAM, tmp_path, options)
    assert 200 < mib < 600, "of as many as there were at a time"


SHARING = """
import numpy as np
import lineshaft

def total(array):
    return int(array.sum())

if __name__ == "__main__":
    # What pickling takes is the program's own, and more of it than of anything else.
    array = np.ones(100 << 20, np.uint8)
    tasks = [lineshaft.submit(total, array) for _ in range(12)]
    assert [task.result() for task in tasks] == [100 << 20] * 12
    lineshaft.default_engine().shutdown()
    print(lineshaft.default_engine_stats()["peak_memory_bytes"] >> 20)
"""


# Without anybody who looks meanwhile, what workers have shared before the end may count for each of the four.
@pytest.mark.parametrize(("report", "most_mib"), [([], 900), (["--report", "run.html"], 500)])
def test_peak_memory_has_what_workers_share_once_and_is_that_of_the_report(tmp_path, report, most_mib):
    mib = printed_by(SHARING, tmp_path, ["--no-dashboard", "--workers", "4", *report])
    # The array, its pickle and the object: each worker that counts the object as its own adds another hundred.
    assert 200 < mib < most_mib
    if report:
        assert mib == int(re.search(r'"whole_peak_bytes":(\d+)', (tmp_path / "run.html").read_text())[1]) >> 20


FORKED = """
import multiprocessing
import lineshaft

data = bytearray(b"x") * (100 << 20)

def byte(place):
    return data[place]

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(byte, range(40), chunksize=1) == [120] * 40
        print(lineshaft.default_engine_stats()["peak_memory_bytes"] >> 20)
"""


@pytest.mark.parametrize("options", [["--no-dashboard"], []])
def test_peak_memory_has_what_workers_were_forked_with_once(tmp_path, options):
    mib = printed_by(FORKED, tmp_path, options)
    assert 100 < mib < 300, "each of four workers would add another hundred"
