"""What `lineshaft.default_engine_stats` says, for the summary of ``lineshaft run``."""

import subprocess
import sys

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


def test_peak_memory_is_that_of_workers_that_have_ended_too(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "lineshaft", "run", "--no-dashboard", "program.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert 200 < int(ended.stdout) < 600, "of as many as there were at a time"
