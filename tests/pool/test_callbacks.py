"""The callbacks of `multiprocessing.pool.Pool`."""

import operator
import threading


def test_callbacks_get_value_or_error_before_the_result_is_ready(pool):
    seen = []
    result = pool.apply_async(pow, (4, 2), callback=seen.append, error_callback=seen.append)
    assert result.get(10) == 16
    assert seen == [16]
    result = pool.apply_async(operator.getitem, ({}, "key"), callback=seen.append, error_callback=seen.append)
    result.wait(10)
    assert isinstance(seen[1], KeyError)


def test_map_async_callback_gets_the_whole_list(pool):
    seen = []
    pool.map_async(int, ["1", "2"], callback=seen.append, error_callback=seen.append).wait(10)
    pool.map_async(int, ["a", "2"], callback=seen.append, error_callback=seen.append).wait(10)
    assert seen[0] == [1, 2]
    assert isinstance(seen[1], ValueError)


def test_an_empty_input_has_no_callback(pool):
    seen = []
    for start in (pool.map_async, pool.starmap_async):
        result = start(int, [], callback=seen.append, error_callback=seen.append)
        assert result.ready()
        assert result.get() == []
    pool.close()
    pool.join()
    assert seen == []


def test_callbacks_run_on_one_thread_and_all_have_run_after_join(pool_class):
    threads, values = set(), []

    def note(value):
        threads.add(threading.current_thread())
        values.append(value)

    pool = pool_class(2)
    for i in range(50):
        pool.apply_async(pow, (i, 2), callback=note)
    pool.close()
    pool.join()
    assert sorted(values) == [i * i for i in range(50)]
    assert len(threads) == 1
    assert threads != {threading.main_thread()}


def test_a_callback_that_raises_is_reported_and_stops_nothing(pool, monkeypatch):
    reported = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    seen = []
    bad = pool.apply_async(pow, (1, 2), callback=lambda _: 1 / 0)
    assert bad.get(10) == 1
    assert pool.apply_async(pow, (2, 2), callback=seen.append).get(10) == 4
    assert seen == [4]
    assert [args.exc_type for args in reported] == [ZeroDivisionError]


def test_a_callback_may_use_the_pool(pool):
    results = []
    outer = pool.apply_async(pow, (2, 2), callback=lambda y: results.append(pool.apply_async(pow, (y, 2))))
    outer.wait(10)
    assert results[0].get(10) == 16


def test_a_callback_may_end_the_pool(pool_class):
    pool, joined = pool_class(2), threading.Event()

    def end(_):
        pool.close()
        pool.join()
        joined.set()

    pool.apply_async(pow, (2, 2), callback=end)
    assert joined.wait(30)
    pool.join()
