"""When and where do delays build up? A part of `flights.py`, by Dask.

A dataframe joins each departure to the weather of its hour and groups by what the sky was like. An array lays the
delays out by airport, day and hour, takes off what the day is like, and asks how long a bad hour is felt. A bag reads
the raw lines of the table, as one would read logs, and counts what was cancelled.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import numpy.typing as npt
import pandas as pd

Array = npt.NDArray[Any]

#: Rows in one part of the table, and lines in one part of the file.
PART = 30_000
#: Days in one chunk of the array.
DAYS_PER_CHUNK = 30
#: Hours after which the echo of a delay is looked for.
LAGS = (1, 2, 4, 8)
SKIES = ("clear", "rain", "low visibility", "both")


def report_skies(flights: pd.DataFrame, weather: pd.DataFrame, workers: int) -> None:
    """Print how late departures are under each sky, by airport: tables that are joined and grouped."""
    place = ["origin", "yearday", "hour"]
    readings = weather.drop_duplicates(place)[[*place, "precip", "visib"]].dropna()
    departures = dd.from_pandas(flights[[*place, "dep_delay"]].dropna(), npartitions=-(-len(flights) // PART))
    joined = departures.merge(readings, on=place)
    sky = (joined["precip"] > 0).astype(int) + 2 * (joined["visib"] < 3).astype(int)
    late = joined.assign(sky=sky, late=joined["dep_delay"] > 15)
    grouped = late.groupby(["origin", "sky"])[["dep_delay", "late"]].agg(["mean", "size"])
    table = grouped.compute(num_workers=workers).sort_index()

    print("\nDepartures under each sky: mean delay in minutes, and the share later than a quarter of an hour")
    for origin in ("EWR", "JFK", "LGA"):
        parts = []
        for code, name in enumerate(SKIES):
            row = table.loc[(origin, code)]
            parts.append(f"{name} {row['dep_delay', 'mean']:.1f} ({row['late', 'mean']:.0%})")
        print(f"  {origin}: {', '.join(parts)}")


def report_echo(hours: dict[str, Array], workers: int) -> None:
    """Print how long a bad hour is felt: a correlation of the hourly delays with those that follow, by airport.

    Parameters
    ----------
    hours
        By airport, day and hour: the flights, and the mean delay beyond what is usual.
    """
    chunks = (1, DAYS_PER_CHUNK, 24)
    flown = da.from_array(hours["flights"], chunks=chunks) > 0
    delay = da.from_array(hours["delay"], chunks=chunks)
    # What a day is like as a whole would pass for an echo.
    centred = da.where(flown, delay, np.nan)
    centred = centred - da.nanmean(centred, axis=2, keepdims=True)
    echoes = []
    for lag in LAGS:
        before, after = centred[:, :, :-lag], centred[:, :, lag:]
        both = da.isfinite(before) & da.isfinite(after)
        x, y = da.where(both, before, 0.0), da.where(both, after, 0.0)
        sums = [(x * y).sum(axis=(1, 2)), (x * x).sum(axis=(1, 2)), (y * y).sum(axis=(1, 2))]
        echoes.append(sums[0] / da.sqrt(sums[1] * sums[2]))
    correlations = da.stack(echoes, axis=1).compute(num_workers=workers)

    print("\nCorrelation of an hour's delay, beyond that of its day, with the delay some hours later")
    print(f"  {'':6}{''.join(f'{lag:>5} h' for lag in LAGS)}")
    for origin, row in zip(("EWR", "JFK", "LGA"), correlations, strict=True):
        print(f"  {origin:6}{''.join(f'{value:>+7.2f}' for value in row)}")


def cancelled(line: str) -> tuple[str, bool]:
    """Return the month of a line of the table, and whether that flight never left."""
    _, month, _, departure, _ = line.split(",", 4)
    return month, departure in {"", "NA"}


def report_months(path: Path, workers: int) -> None:
    """Print what share of each month's departures was cancelled, from the raw lines of the table."""
    with zipfile.ZipFile(path) as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    bag = db.from_sequence(lines[1:], partition_size=PART)
    counts = dict(bag.map(cancelled).frequencies().compute(num_workers=workers))

    shares = []
    for month in range(1, 13):
        lost, flown = counts.get((str(month), True), 0), counts.get((str(month), False), 0)
        shares.append(f"{lost / (lost + flown):.1%}")
    print(f"\nCancelled, January to December: {', '.join(shares)}")
