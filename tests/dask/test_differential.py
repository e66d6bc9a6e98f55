"""Mixes of collections mean on the engine what they mean to Dask's own synchronous scheduler.

What is looked for is that delayed graphs may go by Dask's optimizer, which is quadratic: whatever is mixed with them,
shared among them, named by hand or computed before, the results are those of `dask.get`.
"""

import dask
import dask.array as da
import dask.bag as db
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.dask.nodes import add, inc

from lineshaft.dask import get, get_processes


def pack(*args, **kwargs):
    """A value from which all arguments can be read."""
    return [list(args), sorted(kwargs.items())]


@dask.delayed(nout=2, pure=True)
def halves(x):
    return [x], [x, x]


class Point:
    """What delayed attributes and methods are asked of."""

    def __init__(self, x):
        self.x = x

    def moved(self, by):
        return self.x, by


def combine(draw, made):
    """Draw something lazy that is made of some of what was made before."""
    some = draw(st.lists(st.sampled_from(made), max_size=4)) if made else []
    kind = draw(st.integers(0, 11))
    number = draw(st.integers(0, 3))
    pure = draw(st.booleans())
    first = some[0] if some else number
    match kind:
        case 0:
            return dask.delayed(pack, pure=pure)(*some, number=number)
        case 1:
            return dask.delayed(pack, pure=pure)([some, {"a": first}], (number, first), last=some[-1:])
        case 2:
            return dask.delayed(pack, pure=pure)(*some, dask_key_name=f"named-{draw(st.integers(0, 2))}-{len(made)}")
        case 3:
            return dask.delayed(list(some), traverse=draw(st.booleans()))
        case 4:
            return halves(number)[draw(st.integers(0, 1))]
        case 5:
            return dask.delayed(Point)(number).moved(first)
        case 6:
            return dask.delayed(Point)(first).x
        case 7:
            return da.arange(number + 4, chunks=2) + 1
        case 8:
            return da.from_delayed(dask.delayed(np.arange)(number + 1), (number + 1,), dtype=int).sum()
        case 9:
            bag = db.from_sequence(range(number + 3), npartitions=2).map(inc)
            return draw(st.sampled_from([bag, bag.sum(), bag.to_delayed()[0]]))
        case 10:
            return (da.ones((4, 4), chunks=2) * number).to_delayed().ravel()[number]
        case _:
            with dask.annotate(retries=number, priority=number):
                return dask.delayed(add, pure=pure)(number, 1)


@st.composite
def collections(draw):
    made = []
    for _ in range(draw(st.integers(1, 8))):
        made.append(combine(draw, made))
        if draw(st.integers(0, 9)) == 0:
            made[-1] = made[-1].persist(scheduler="sync")
    return draw(st.lists(st.sampled_from(made), min_size=1, max_size=4))


def plain(value):
    """The same with arrays as lists, and collections that were not to be computed as their keys, to be compared."""
    if dask.is_dask_collection(value):
        return value.__dask_keys__()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


EXAMPLES = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@given(collections(), st.booleans())
@settings(EXAMPLES, max_examples=100)
def test_mixes_of_collections(lazy, optimize):
    def computed(scheduler):
        # One by one, because Dask mixes up what it persists together.
        persisted = [each.persist(scheduler=scheduler, optimize_graph=optimize) for each in lazy]
        at_once = dask.compute(*lazy, scheduler=scheduler, optimize_graph=optimize)
        return plain(at_once), plain(dask.compute(*persisted, scheduler=scheduler))

    assert computed(get) == computed("sync")


@given(collections())
@settings(EXAMPLES, max_examples=10)
def test_mixes_of_collections_in_processes(lazy):
    expected = dask.compute(*lazy, scheduler="sync")
    assert plain(dask.compute(*lazy, scheduler=get_processes)) == plain(expected)
