"""A part of Dask's own tests, unmodified, with Lineshaft as Dask's schedulers; `make conformance` runs all."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
def test_dasks_own_tests(tmp_path):
    # The plugin changes Dask for its process, so that it is imported by that of the tests only.
    from_plugin = (
        "import sys, pathlib; from tests.dask.conformance import *; "
        "run = command(PART, pathlib.Path(sys.argv[1])); os.execv(run[0], run)"
    )
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    env = {**os.environ, "PYTHONPATH": path, "LINESHAFT_WORKERS": "2"}
    command = [sys.executable, "-c", from_plugin, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 800, "the tests were not found"
