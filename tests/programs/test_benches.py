"""The benchmark script: its arithmetic, and that it can say what it measured and what it could not."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from benches.compare import MEASURES, number, run
from benches.measure import Measure, Target

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("target", "better", "ratio", "holds"),
    [
        (Target(ours="us", peer="them", at_least=10), "higher", 12, True),
        (Target(ours="us", peer="them", at_least=10), "lower", 1 / 12, False),
        (Target(ours="us", peer="them", at_most=0.35), "lower", 12, False),
        (Target(ours="us", at_most=30), "lower", 24, True),
        (Target(ours="us", peer="absent", at_least=1), "higher", None, False),
    ],
)
def test_ratio(target: Target, better: str, ratio: float | None, holds: bool) -> None:
    found = target.ratio({"us": 24.0, "them": 2.0}, better=better)
    assert found == (None if ratio is None else pytest.approx(ratio))
    assert target.holds(found) is holds


def test_nothing_used_at_all_is_within_bounds() -> None:
    assert Target(ours="us", at_most=1).holds(0.0)
    assert Target(ours="us", peer="them", at_least=5).ratio({"us": 0.0, "them": 1.0}, better="lower") == math.inf


def test_targets_name_contestants() -> None:
    for measure in MEASURES.values():
        named = {name for target in measure.targets for name in (target.ours, target.peer) if name}
        assert named <= set(measure.contestants), measure.name


def test_a_contestant_that_fails_does_not_stop_the_others() -> None:
    # The sampling interpreter knows the real measures only, so both contestants of this one fail there.
    unknown = Measure(name="unknown", title="", unit="s", contestants={"a": float, "b": float}, timeout_s=30)
    outcome = run(unknown, 1)
    assert set(outcome.problems) == {"a", "b"}
    assert not outcome.medians


def test_numbers_have_three_digits() -> None:
    assert [number(value) for value in (31_849.0, 46.12, 0.3512, 0.0)] == ["31,800", "46.1", "0.351", "0"]


def test_script(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    command = [sys.executable, "-m", "benches.compare", "--only", "floors", "--repeat", "1", "--json", str(record)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "targets missed or not measured: none" in finished.stdout
    samples = json.loads(record.read_text())["measures"]["floors"]["samples"]
    assert all(len(values) == 1 and values[0] > 0 for values in samples.values())
