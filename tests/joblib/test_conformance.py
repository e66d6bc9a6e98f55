"""joblib's own tests of Parallel, unmodified, with Lineshaft as one of the valid backends.

`make conformance` runs them under ``lineshaft run`` as well.
"""

import faulthandler
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.joblib.conformance import SKIPS, command, read_skips

ROOT = Path(__file__).parents[2]
#: Skips that joblib's tests decide upon themselves: they say what is not installed.
OWN_SKIPS = (
    "Need OpenMP helper compiled",
    "Only without multiprocessing",
    "This test requires dask",
    "Not picklable with pickle",
)


@pytest.mark.timeout(900)
def test_joblibs_own_tests(tmp_path):
    faulthandler.cancel_dump_traceback_later()  # it takes minutes, and its tests have limits of their own
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]), "LINESHAFT_WORKERS": "2"}
    done = subprocess.run(
        [*command(tmp_path), "-x"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = int(re.search(r"(\d+) passed", done.stdout)[1])
    assert passed > 100, "the tests were not found"
    for line in re.findall(r"^SKIPPED.*$", done.stdout, re.MULTILINE):
        assert SKIPS.name in line or any(reason in line for reason in OWN_SKIPS), f"a skip without a reason: {line}"


def test_a_skip_without_a_reason_is_refused():
    assert len(read_skips(SKIPS.read_text())) < 10
    assert len(read_skips(SKIPS.read_text(), is_served=True)) < 20
    for text in ('[[skip]]\ntest = "x"', '[[skip]]\ntest = "x"\nreason = "why not"', "[other]\ntest = 1"):
        with pytest.raises(ValueError, match=r"without a reason|unknown"):
            read_skips(text)
