"""Items of batches that raise are failures for who looks at the engine, although their task returns."""

import json
import os
import signal
import urllib.request

import pytest

import lineshaft as ls

COUNTED = ("submitted", "finished", "failed", "dropped", "retried")


class Looked:
    """What the dashboard says."""

    def __init__(self, engine):
        self.url = engine.dashboard_url

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def counted(self):
        """Return the tasks of the only function, as in `COUNTED`."""
        overview = self.get("/api/overview")
        (group,) = overview["groups"]
        assert all(overview["tasks"][name] == group[name] for name in COUNTED)
        return tuple(group[name] for name in COUNTED)

    def failed(self):
        rows = self.get("/api/tasks?state=failed")["rows"]
        return [self.get(f"/api/tasks/{row['task']}") for row in rows]


def refuse(number):
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def test_a_map_whose_item_raises_has_a_task_that_failed():
    with ls.Engine(workers=1) as engine:
        with pytest.raises(ValueError, match="1 is odd"):
            list(ls.map(refuse, [0, 2, 4, 1], engine=engine))
        look = Looked(engine)
        assert look.counted() == (4, 3, 1, 0, 0)
        (task,) = look.failed()
        (traceback,) = task["tracebacks"]
        # A batch of one item is told as a call of it.
        assert traceback["text"].startswith("Traceback (most recent call last):\n")
        assert "ValueError: 1 is odd" in traceback["text"]
        assert [attempt["end"] for attempt in task["history"]] == ["failed"]
        lines = engine.metrics().splitlines()
        assert 'lineshaft_tasks_ended_total{outcome="failed"} 1' in lines
        (failures,) = [line for line in lines if line.startswith("lineshaft_group_failures_total")]
        assert failures.endswith(f'{{group="refuse",module="{__name__}"}} 1')


def test_a_batch_fails_once_however_many_items_raise_and_says_how_many():
    with ls.Engine(workers=1) as engine:
        pool = ls.task(refuse, engine=engine)._pool()
        _, failed, _ = pool.submit_each(refuse, [(number,) for number in range(5)]).result()
        assert list(failed) == [1, 3]
        look = Looked(engine)
        assert look.counted() == (1, 0, 1, 0, 0)
        (task,) = look.failed()
        assert task["tracebacks"][0]["text"].startswith("2 items raised, the first of them item 1 of 5:\n")


def refuse_once(path):
    if not path.exists():
        path.touch()
        raise ValueError(path)


def test_items_that_are_run_again_count_by_themselves(tmp_path):
    with ls.Engine(workers=1) as engine:
        assert list(ls.map(refuse_once, [tmp_path / "a"], retries=1, engine=engine)) == [None]
        look = Looked(engine)
        # The batch, an attempt of which failed, and the item that ran again.
        assert look.counted() == (2, 2, 0, 0, 1)


def die_once(path):
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_batch_whose_worker_dies_and_whose_items_run_again_has_not_failed(tmp_path):
    with ls.Engine(workers=1) as engine:
        assert list(ls.map(die_once, [tmp_path / "a"], retries=1, engine=engine)) == [None]
        look = Looked(engine)
        assert look.counted() == (2, 2, 0, 0, 1)
        assert look.failed() == []
        rows = look.get("/api/tasks")["rows"]
        assert [row["state"] for row in rows] == ["finished", "finished"]
        # The page of the batch says what happened.
        (death,) = look.get(f"/api/tasks/{min(row['task'] for row in rows)}")["deaths"]
        assert death["signal"] == signal.SIGKILL


def test_a_batch_whose_worker_dies_for_good_has_failed(tmp_path):
    with ls.Engine(workers=1) as engine:
        with pytest.raises(ls.errors.WorkerDied):
            list(ls.map(die_once, [tmp_path / "a"], engine=engine))
        assert Looked(engine).counted() == (1, 0, 1, 0, 0)
