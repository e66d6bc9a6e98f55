"""Runs Lineshaft and its peers side by side and prints the ratios beside their targets.

``python -m benches.compare`` runs everything, ``--only submit --only latency`` some of it, ``--list`` says what there
is. Contestants alternate, each sample comes from a fresh interpreter, the table shows medians. With ``--check`` a
missed target makes the exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benches import (
    arrays,
    browsed,
    dask_graphs,
    dask_programs,
    floors,
    idle,
    joblib_backends,
    latency,
    startup,
    throughput,
    watched,
)
from benches.measure import WORKERS, Measure

MEASURES = {
    measure.name: measure
    for module in (
        throughput,
        latency,
        arrays,
        startup,
        idle,
        floors,
        joblib_backends,
        dask_graphs,
        dask_programs,
        watched,
        browsed,
    )
    for measure in module.MEASURES
}


@dataclass
class Outcome:
    """The samples of one measure, and why a contestant has none."""

    samples: dict[str, list[float]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, float]:
        """The median of each contestant that could run."""
        return {name: median(values) for name, values in self.samples.items() if values}


def sample_here(measure: str, contestant: str) -> None:
    """Take one sample in this interpreter and print it, or why there is none, as a line of JSON."""
    answer: dict[str, float | str]
    try:
        answer = {"value": MEASURES[measure].contestants[contestant]()}
    except ImportError as error:
        answer = {"problem": f"not installed ({error})"}
    except Exception as error:
        answer = {"problem": f"failed: {type(error).__name__}: {error}"}
    print(f"\n{json.dumps(answer)}", flush=True)


def sample(measure: Measure, contestant: str) -> dict[str, float | str]:
    """Take one sample in a fresh interpreter."""
    command = [sys.executable, "-m", "benches.compare", "--sample", measure.name, contestant]
    try:
        finished = subprocess.run(
            command,
            cwd=Path(__file__).parent.parent,
            capture_output=True,
            text=True,
            timeout=measure.timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"problem": f"failed: no answer after {measure.timeout_s:g} s"}
    lines = finished.stdout.strip().splitlines()
    if not lines or not lines[-1].startswith("{"):
        return {"problem": f"failed: exit code {finished.returncode}: {finished.stderr.strip()[-300:]}"}
    answer: dict[str, float | str] = json.loads(lines[-1])
    return answer


def run(measure: Measure, repeat: int) -> Outcome:
    """Let the contestants take turns, in an order that turns round each time."""
    outcome = Outcome({name: [] for name in measure.contestants})
    for turn in range(min(repeat, measure.repeat_max)):
        names = list(measure.contestants)
        for name in names if turn % 2 == 0 else reversed(names):
            if name in outcome.problems:
                continue
            answer = sample(measure, name)
            if "value" in answer:
                outcome.samples[name].append(float(answer["value"]))
            else:
                outcome.problems[name] = str(answer["problem"])
                outcome.samples[name].clear()
    return outcome


def number(value: float) -> str:
    """Write a number with three significant digits."""
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}" if value >= 0.001 else "0"


def show(measure: Measure, outcome: Outcome) -> bool:
    """Print a measure's table; return whether all its targets are met."""
    print(f"\n{measure.title}, {measure.unit}" + (" (higher is better)" if measure.better == "higher" else ""))
    for name in measure.contestants:
        if name in outcome.problems:
            print(f"  {name:40}{'-':>10}  {outcome.problems[name]}")
            continue
        values = outcome.samples[name]
        spread = f"  {number(min(values))} to {number(max(values))}" if len(values) > 1 else ""
        print(f"  {name:40}{number(median(values)):>10}{spread}")
    met = True
    for target in measure.targets:
        ratio = target.ratio(outcome.medians, better=measure.better)
        holds = target.holds(ratio)
        met = met and holds
        verdict = "not measured" if ratio is None else "met" if holds else "MISSED"
        print(f"  > {target.ours}: {number(ratio) if ratio is not None else '-'}, target {target}: {verdict}")
    sys.stdout.flush()
    return met


def main() -> None:
    """Parse the command line and run what it names."""
    parser = argparse.ArgumentParser(prog="python -m benches.compare", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(MEASURES), metavar="NAME", help="run this measure only")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="samples of each contestant (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed or not measured")
    parser.add_argument("--list", action="store_true", help="list the measures")
    parser.add_argument("--sample", nargs=2, metavar=("MEASURE", "CONTESTANT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sample:
        sample_here(*options.sample)
        return
    if options.list:
        for measure in MEASURES.values():
            print(f"{measure.name:20}{measure.title}")
        return

    machine = f"CPython {platform.python_version()}, {len(os.sched_getaffinity(0))} cores, {platform.system()}"
    print(f"{machine}; {WORKERS} workers, medians of {options.repeat}")
    missed, record = [], {}
    for name in options.only or MEASURES:
        outcome = run(MEASURES[name], options.repeat)
        if not show(MEASURES[name], outcome):
            missed.append(name)
        record[name] = {"unit": MEASURES[name].unit, "samples": outcome.samples, "problems": outcome.problems}
    print(f"\ntargets missed or not measured: {', '.join(missed) or 'none'}")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine, "workers": WORKERS, "measures": record}, indent=1))
    if options.check and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
