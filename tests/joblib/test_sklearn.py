"""scikit-learn on the engine: results identical to n_jobs=1, on data that ships with it."""

import numpy as np
import sklearn
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from joblib import parallel_config


def both(compute):
    """Compute with n_jobs=1, and with n_jobs=2 on the engine."""
    alone = compute(1)
    with parallel_config("lineshaft", n_jobs=2):
        return alone, compute(None), compute(2)


def assert_same(results):
    first, *others = results
    for other in others:
        np.testing.assert_array_equal(first, other)


def test_random_forest_classifier():
    x, y = load_digits(return_X_y=True)

    def fit(n_jobs):
        forest = RandomForestClassifier(20, random_state=0, n_jobs=n_jobs).fit(x[:1000], y[:1000])
        return np.hstack([forest.predict_proba(x[1000:]), forest.predict(x[1000:])[:, None]])

    assert_same(both(fit))


def test_random_forest_regressor():
    x, y = load_diabetes(return_X_y=True)

    def fit(n_jobs):
        forest = RandomForestRegressor(20, random_state=0, n_jobs=n_jobs, oob_score=True, bootstrap=True).fit(x, y)
        return np.append(forest.predict(x), forest.oob_score_)

    # Trees are summed in the order in which they end, as in joblib's threads.
    alone, *others = both(fit)
    for other in others:
        np.testing.assert_allclose(alone, other, rtol=1e-12)


def test_grid_search():
    x, y = load_digits(return_X_y=True)
    grid = {"max_depth": [3, 6], "criterion": ["gini", "entropy"]}

    def fit(n_jobs):
        search = GridSearchCV(DecisionTreeClassifier(random_state=0), grid, cv=3, n_jobs=n_jobs).fit(x, y)
        return [*search.cv_results_["mean_test_score"], search.best_score_, search.best_index_, *search.predict(x[:50])]

    assert_same(both(fit))


def test_grid_search_over_a_forest():
    x, y = load_breast_cancer(return_X_y=True)

    def fit(n_jobs):
        forest = RandomForestClassifier(5, random_state=0, n_jobs=n_jobs)
        search = GridSearchCV(forest, {"max_depth": [2, 4]}, cv=2, n_jobs=n_jobs).fit(x, y)
        return [*search.cv_results_["mean_test_score"], *search.predict(x)]

    assert_same(both(fit))


def test_cross_val_score():
    x, y = load_diabetes(return_X_y=True)
    assert_same(both(lambda n_jobs: cross_val_score(Ridge(), x, y, cv=8, n_jobs=n_jobs)))
    x, y = load_breast_cancer(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    assert_same(both(lambda n_jobs: cross_val_score(pipeline, x, y, cv=5, n_jobs=n_jobs)))


def test_voting():
    x, y = load_breast_cancer(return_X_y=True)
    members = [("tree", DecisionTreeClassifier(random_state=0)), ("bayes", GaussianNB())]
    members.append(("forest", RandomForestClassifier(5, random_state=0)))

    def fit(n_jobs):
        return VotingClassifier(members, voting="soft", n_jobs=n_jobs).fit(x[::2], y[::2]).predict_proba(x[1::2])

    assert_same(both(fit))


def test_permutation_importance():
    x, y = load_diabetes(return_X_y=True)
    model = Ridge().fit(x, y)
    assert_same(both(lambda n: permutation_importance(model, x, y, n_repeats=4, random_state=0, n_jobs=n).importances))


def test_settings_and_warnings_of_the_caller_reach_the_workers():
    x, y = load_diabetes(return_X_y=True)
    with sklearn.config_context(assume_finite=True), parallel_config("lineshaft", n_jobs=2):
        from sklearn.utils.parallel import Parallel, delayed

        assert Parallel()(delayed(sklearn.get_config)() for _ in range(2))[0]["assume_finite"]
        assert len(cross_val_score(Ridge(), x, y, cv=3)) == 3
