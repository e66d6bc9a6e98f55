"""Arguments, futures, buffers, nested use, start-up and speed."""

import math
import pickle
import subprocess
import sys
import threading
import timeit
from pathlib import Path

import pytest

from lineshaft._serial import parent, worker
from lineshaft._serial.main_module import describe_main
from lineshaft._serial.parent import Encoder, reference


class Future:
    _lineshaft_future = True

    def __reduce__(self):
        return reference(self)


def test_pickling_may_wait_for_a_thread_that_pickles():
    """As a ``__getstate__`` does that takes a lock which another thread submits with."""
    encoder = Encoder()

    class Waiting:
        def __reduce__(self):
            other = threading.Thread(target=encoder.code, args=(lambda: 1,))
            other.start()
            other.join(30)
            return str, (other.is_alive(),)

    data = encoder.dumps([Waiting(), lambda: 1]).data
    assert worker.loads(data, (), ())[0] == "False"


def test_futures_become_inputs():
    encoder = Encoder()
    first, second = Future(), Future()
    encoded = encoder.dumps([first, {"a": second}, first])
    assert encoded.futures == (first, second)
    assert worker.loads(encoded.data, (), ("one", "two")) == ["one", {"a": "two"}, "one"]
    by_value = encoder.dumps([second, lambda: 1, first])
    assert by_value.futures == (second, first)
    loaded = worker.loads(by_value.data, (), (1, 2))
    assert (loaded[0], loaded[1](), loaded[2]) == (1, 1, 2)


def test_futures_are_refused_elsewhere():
    with pytest.raises(TypeError, match="except as an argument"):
        pickle.dumps(Future())
    future = Future()
    with pytest.raises(TypeError, match="except as an argument"):
        Encoder().code(lambda: future)


def test_future_in_a_global_is_not_sent(script):
    script("""
        from lineshaft._serial.parent import reference
        import emulator
        class Future:
            _lineshaft_future = True
            def __reduce__(self):
                return reference(self)
        future = Future()
        def use():
            return future
        def add(a, f):
            return a + f()
        with Worker() as w:
            try:
                w.call(use)
            except NameError as e:
                assert "except as an argument" in e.__notes__[0], e.__notes__
            assert w.call(add, future, lambda: 2, inputs=(40,)) == 42
    """)


def test_buffers_travel_out_of_band():
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(1_000_000)
    encoder = Encoder()
    buffers = []
    encoded = encoder.dumps(([array], {}), buffers.append)
    assert len(encoded.data) < 1000
    assert [buffer.raw().nbytes for buffer in buffers] == [array.nbytes]
    (loaded,) = worker.loads(encoded.data, buffers)[0]
    assert numpy.shares_memory(loaded, array)
    # The by-value attempt must not hand over the buffers of the first attempt as well.
    buffers = []
    encoded = encoder.dumps((array, lambda: 1), buffers.append)
    assert len(buffers) == 1
    assert len(encoded.data) < 2000
    results = []
    data = worker.dumps_result((array, lambda: 1), results.append)
    assert len(results) == 1
    assert parent.load_result(data, results)[0][-1] == 999_999
    assert len(encoder.dumps(array).data) > array.nbytes


def test_arrays_in_globals_and_closures(script):
    pytest.importorskip("numpy")
    script("""
        import numpy as np
        data = np.arange(100_000)
        def make():
            other = np.ones(50_000)
            return lambda i: other[i] + data[i]
        def get(i):
            return data[i]
        f = make()
        def call(g):
            return g(2)
        with Worker() as w:
            assert w.call(get, 7) == 7
            assert w.call(f, 5) == 6 and w.call(call, make()) == 3
            assert len(w.encoder.code(f).buffers) == 1
            needs = {d.name: d for d in w.encoder.code(f).needs}
            assert len(needs["data"].buffers) == 1 and len(needs["data"].data) < 1000
            assert w.sent.count("data") == 1
    """)


def test_nested_use(file_script):
    out = file_script("""
        import sys
        class Point:
            def __init__(self, x):
                self.x = x
        state = None
        def init(x):
            global state
            state = x
        def leaf(p):
            return Point(p.x + 1), state, type(p) is Point
        def middle(p):
            with Worker() as inner:
                point, seen, same = inner.call(leaf, p)
            return type(point) is Point, point, seen, same
        with Worker() as w:
            w.call(init, "set")
            ok, point, seen, same = w.call(middle, Point(1))
            print(ok, type(point) is Point, point.x, seen, same)
    """)
    assert out == "True True 2 set True\n"


def test_definitions_of_another_submitter_leave_the_globals_in_place(file_script):
    out = file_script("""
        from lineshaft._serial.parent import Encoder
        state = "of the parent"
        class Point:
            pass
        def init(x):
            global state
            state = x
        def leaf(p):
            return state, type(p) is Point, Point
        with Worker() as w:
            w.call(init, "of the worker")
            print(w.call(leaf, Point())[:2])
            mine = w.encode(leaf, Point())
            w.encoder = Encoder()
            state = "of another"
            print(w.call(leaf, Point())[:2])
            print(w.run(*mine)[:2])
    """)
    assert out.splitlines() == ["('of the worker', True)", "('of another', True)", "('of the worker', True)"]


def test_ids_differ_between_processes():
    code = "import lineshaft._serial.definition as d; print(d.new_id())"
    ids = {int(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3)}
    assert len(ids) == 3
    assert all(0 < id_ < 2**63 for id_ in ids)


def test_forgotten_definitions_free_their_values(script):
    script("""
        import gc
        class Big:
            def __init__(self, n):
                self.n = n
        big = Big(1)
        def use():
            return big.n, sum(type(x) is Big for x in gc.get_objects())
        with Worker() as w:
            assert w.call(use) == (1, 1)
            old = w.encoder.code(use)
            big = Big(2)
            assert w.call(use) == (2, 2)
            kept = {d.id for d in w.encoder.code(use).needs}
            w.forget([old.id, *(d.id for d in old.needs if d.id not in kept)])
            assert w.call(use) == (2, 1)
    """)


def test_rebound_and_dead_objects_are_not_kept_alive(script):
    script("""
        import gc
        import weakref
        from lineshaft._serial.parent import Encoder
        encoder = Encoder()
        class Big:
            pass
        big = Big()
        def f():
            return big, f
        encoder.code(f)
        watched = [weakref.ref(big), weakref.ref(f)]
        def f():
            return big, f, 2
        big = Big()
        encoder.code(f)
        gc.collect()
        assert [r() for r in watched] == [None, None]
        def make():
            def g():
                return g
            return g
        g = make()
        encoder.code(g)
        watched = weakref.ref(g)
        del g
        gc.collect()
        assert watched() is None
        assert len(encoder._entries) == 1
    """)


def test_main_of_the_worker_looks_like_the_users(script):
    script("""
        import sys
        def look():
            import __main__
            main = sys.modules["__main__"]
            return (main is __main__, main.__name__, getattr(main, "__file__", None), sys.argv, main.look is look,
                    "path" in dir(sys), __name__)
        import __main__ as m
        with Worker() as w:
            same, name, file, argv, bound, _, dunder = w.call(look)
            assert same and bound and name == dunder == "__main__" and argv == sys.argv
            assert file == getattr(m, "__file__", None), file
    """)


def test_module_run_as_main(tmp_path, environment):
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "other.py").write_text("VALUE = 3\n")
    (package / "__main__.py").write_text(
        "from emulator import Worker\n"
        "from . import other\n"
        "def f():\n    from .other import VALUE\n    return VALUE + other.VALUE\n"
        "with Worker() as w:\n    print(w.call(f))\n"
    )
    command = [sys.executable, "-m", "package"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "6\n", done.stderr


def test_description_is_plain_data(monkeypatch):
    monkeypatch.setattr(sys, "path", [Path("somewhere"), *sys.path])
    description = describe_main()
    assert all(type(entry) is str for entry in description["path"])
    assert pickle.loads(pickle.dumps(description)) == description


def test_nothing_slow_is_imported_early(environment):
    code = (
        "import sys; import lineshaft._serial.parent as p, lineshaft._serial.worker as w, lineshaft.errors;"
        "import lineshaft._serial.main_module, math;"
        "e = p.Encoder(); w.loads(e.dumps(((1,), {})).data); e.code(math.sqrt); w.dumps_result([1]);"
        "slow = {'cloudpickle', 'typing', 'inspect', 'dis', 'traceback', 'multiprocessing', 'pathlib', 'logging'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-S", "-c", code], env=environment, text=True) == "[]\n"


def test_worker_loads_functions_without_cloudpickle(file_script):
    out = file_script("""
        import sys
        BASE = 1
        def helper(x=[1]):
            return lambda: BASE + x[0]
        def look():
            return helper()(), "cloudpickle" in sys.modules
        with Worker() as w:
            print(w.call(look))
    """)
    assert out == "(2, False)\n"


def test_same_function_from_many_threads(script):
    script("""
        import threading
        N = 3
        def f(x):
            return x + N
        w = Worker()
        codes = []
        def submit():
            for _ in range(50):
                codes.append(w.encoder.code(f))
                w.encoder.dumps([f, lambda: N])
        threads = [threading.Thread(target=submit) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(set(codes)) == 1 and len(codes) == 200
        assert w.call(f, 1) == 4
        w.close()
    """)


def test_patched_in_place(script):
    # What IPython's autoreload does: the function stays, its code changes.
    script("""
        def f():
            return 1
        def g():
            return 2
        with Worker() as w:
            assert w.call(f) == 1
            f.__code__ = g.__code__
            assert w.call(f) == 2
    """)


def test_definition_is_immutable():
    code = Encoder().code(math.sqrt)
    with pytest.raises(AttributeError):
        code.id = 5
    with pytest.raises(TypeError):
        pickle.dumps(code)


def test_speed_of_code():
    """10,000 calls cost no more than a few pickles of the same function by reference would."""
    encoder = Encoder()
    base = min(timeit.repeat(lambda: pickle.dumps(threading.Thread, 5), number=10_000, repeat=5))
    known = min(timeit.repeat(lambda: encoder.code(math.sqrt), number=10_000, repeat=5))
    assert known < 1.5 * base


def test_speed_of_code_with_globals(file_script):
    out = file_script("""
        import pickle, threading, timeit, math
        from lineshaft._serial.parent import Encoder
        A = B = C = 1
        def helper(x):
            return x + A + B
        def work(x):
            return helper(x) + C + len([x]) + math.sqrt(4)
        def alone(x):
            return x
        encoder = Encoder()
        def cost(f):
            f()
            return min(timeit.repeat(f, number=10_000, repeat=5))
        base = cost(lambda: pickle.dumps(threading.Thread, 5))
        print(cost(lambda: encoder.code(alone)) / base, cost(lambda: encoder.code(work)) / base)
    """)
    alone, with_globals = map(float, out.split())
    assert alone < 1.5
    assert with_globals < 4
