"""How well can a late departure be foreseen, and from what? A part of `flights.py`, by scikit-learn.

Forests learn from what the plan says the day before, and from the weather as if it had been forecast exactly. They are
judged on days that they have not seen, because flights of one day share its weather and its queues. All of it is
parallel by joblib: the candidates of a search and their folds, the columns of a permutation, and the trees within each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, GroupKFold

from joblib import parallel_config

Array = npt.NDArray[Any]

#: A departure is late if it is later than this, in minutes.
LATE_MIN = 15
#: Flights that the forests learn from and are judged on; many more tell little more.
FLIGHTS = 10_000
TREES = 20
FOLDS = 4
PLAN = ["hour", "month", "weekday", "carrier", "origin", "distance"]
WEATHER = ["temp", "humid", "wind_speed", "precip", "pressure", "visib"]
#: Forests to choose from, by the number of flights in their smallest leaves.
CANDIDATES = {"min_samples_leaf": [5, 20, 80]}


def learnable(flights: pd.DataFrame, weather: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, Array, Array]:
    """Return what is known of a sample of the flights, whether each departed late, and on which day."""
    place = ["origin", "yearday", "hour"]
    readings = weather.drop_duplicates(place)[[*place, *WEATHER]]
    departed = flights.dropna(subset=["dep_delay"]).merge(readings, on=place).dropna(subset=WEATHER)
    departed = departed.sample(FLIGHTS, random_state=seed)
    departed["weekday"] = departed["yearday"] % 7
    for column in ("carrier", "origin"):
        departed[column] = departed[column].astype("category").cat.codes
    known = departed[[*PLAN, *WEATHER]].astype("float32")
    return known, (departed["dep_delay"] > LATE_MIN).to_numpy(), departed["yearday"].to_numpy()


def search(
    known: pd.DataFrame, late: Array, day: Array, workers: int, seed: int
) -> tuple[RandomForestClassifier, Array]:
    """Choose a forest by cross-validation over days; return it, fitted to all flights, and its score in each fold."""
    forest = RandomForestClassifier(TREES, n_jobs=workers, random_state=seed)
    candidates = GridSearchCV(forest, CANDIDATES, scoring="roc_auc", cv=GroupKFold(FOLDS), n_jobs=workers)
    candidates.fit(known, late, groups=day)
    scores = [candidates.cv_results_[f"split{fold}_test_score"][candidates.best_index_] for fold in range(FOLDS)]
    return candidates.best_estimator_, np.array(scores)


def reliance(
    forest: RandomForestClassifier, known: pd.DataFrame, late: Array, day: Array, seed: int
) -> dict[str, float]:
    """Return how much worse a forest judges days it has not seen if one column is exchanged among the flights."""
    seen = day % FOLDS != 0
    forest.fit(known[seen], late[seen])
    found = permutation_importance(forest, known[~seen], late[~seen], scoring="roc_auc", random_state=seed)
    return dict(zip(known.columns, found.importances_mean, strict=True))


def report_model(flights: pd.DataFrame, weather: pd.DataFrame, workers: int, seed: int) -> None:
    """Print how well late departures can be foreseen, and from what."""
    known, late, day = learnable(flights, weather, seed)
    print(f"\n{late.mean():.1%} of the departures are more than {LATE_MIN} minutes late. Forests are asked, for days")
    print("that they have not seen, which of two flights is late; guessing is right in 50 % of the cases.")
    with parallel_config(n_jobs=workers):
        for title, columns in (("from the plan", PLAN), ("with the weather", [*PLAN, *WEATHER])):
            forest, scores = search(known[columns], late, day, workers, seed)
            leaf = forest.get_params()["min_samples_leaf"]
            folds = f"folds {scores.min():.1%} to {scores.max():.1%}, {leaf} flights a leaf"
            print(f"  {title:18}{scores.mean():.1%} ({folds})")
        lost = reliance(forest, known, late, day, seed)
    ranked = sorted(lost, key=lambda column: -lost[column])
    print("  Exchanged among the flights, costs: " + ", ".join(f"{column} {lost[column]:.1%}" for column in ranked[:6]))
