"""Globals of ``__main__`` that cannot be sent come from an import of it, where it has a guard."""

import ast

import pytest

from lineshaft._serial.imported import _is_guard, _names_bound

DEFINITIONS = """
    import functools
    import sys
    import threading
    import lineshaft as ls

    print("set up")
    LOCK = threading.Lock()
    settings = {}

    class Point:
        def __init__(self, x):
            self.x = x

    class Counter:
        _lock = threading.Lock()

        def add(self):
            with self._lock:
                return late, len(settings)

    class Holder:
        class Part:
            pass

        def __init__(self):
            self.lock = threading.Lock()
            self.point = Point(1)

    HOLDER = Holder()

    def serialized(function):
        lock = threading.Lock()

        @functools.wraps(function)
        def inner(*args):
            with lock:
                return function(*args)

        return inner

    @serialized
    def negative(x):
        return -x

    def plain(point):
        return isinstance(point, Point), Point(point.x), "__mp_main__" in sys.modules

    def locked(x):
        with LOCK, HOLDER.lock:
            return x, len(settings), isinstance(HOLDER, Holder), isinstance(HOLDER.point, Point), HOLDER.point

    def add():
        return Counter().add()

    def parts():
        with LOCK:
            return Holder.Part(), sorted(vars(HOLDER)), Point.__module__, plain.__module__, cached(2), cached

    @functools.cache
    def cached(x):
        return x
"""

GUARDED = '    if __name__ == "__main__":'


def test_what_needs_no_import_has_none(file_script):
    text = """
        settings["a"] = late = 1
        with Worker() as worker:
            same, point, imported = worker.call(plain, Point(3))
            assert same and type(point) is Point and not imported
        assert "lineshaft._serial.imported" not in sys.modules
    """
    assert file_script(DEFINITIONS + GUARDED + text) == "set up\n"


def test_what_cannot_be_sent_is_imported(file_script):
    text = """
        settings["a"] = late = 1
        with Worker() as worker:
            worker.call(plain, Point(3))
            x, size, holder_is_same, point_is_same, point = worker.call(locked, 2)
            assert (x, size, holder_is_same, point_is_same) == (2, 1, True, True)
            assert type(point) is Point
            # What was there by value before makes room for it.
            assert worker.call(plain, point)[0]
            assert worker.call(lambda point: isinstance(point, Point), point)
            assert worker.call(add) == (1, 1)
            assert worker.call(Counter.add, Counter()) == (1, 1)
            assert worker.call(Counter().add) == (1, 1)
            assert worker.call(negative, 1) == -1
            part, *others = worker.call(parts)
            assert type(part) is Holder.Part
            assert others == [["lock", "point"], "__main__", "__main__", 2, cached]
            late = 3
            assert worker.call(add) == (3, 1)
    """
    # What the worker prints goes elsewhere.
    assert file_script(DEFINITIONS + GUARDED + text) == "set up\n"


@pytest.mark.parametrize("call", ["negative, 1", "Counter.add, Counter()", "Counter().add", "add"])
def test_any_call_may_be_the_first_that_needs_it(file_script, call):
    file_script(
        DEFINITIONS
        + GUARDED
        + f"""
        late = 1
        with Worker() as worker:
            print(worker.call({call}))
    """
    )


def test_calls_on_the_engine(file_script):
    text = """
        settings["a"] = late = 1
        with ls.Engine(workers=1) as engine:
            point = engine.submit(locked, 2)
            assert engine.submit(lambda found: isinstance(found[4], Point), point).result()
            assert list(engine.map(negative, range(3))) == [0, -1, -2]
            assert engine.submit(add).result() == (1, 1)
    """
    assert file_script(DEFINITIONS + GUARDED + text) == "set up\nset up\n"


def test_a_script_without_guard_is_not_imported(file_script):
    out = file_script(
        DEFINITIONS
        + """
    with ls.Engine(workers=1) as engine:
        error = engine.submit(locked, 1).exception()
        assert type(error) is NameError and "LOCK is a _thread.lock" in error.__notes__[0]
        failure = str(engine.submit(negative, 1).exception())
        assert "negative" in failure and "'lock'" in failure, failure
    """
    )
    assert out == "set up\n"


def test_an_import_that_fails(file_script):
    file_script("""
        import threading
        LOCK = threading.Lock()

        def locked():
            with LOCK:
                return 1

        def free():
            return 2

        if __name__ != "__main__":
            raise SystemExit("not here")
        if __name__ == "__main__":
            with Worker() as worker:
                for _ in range(2):
                    try:
                        worker.call(locked)
                    except ImportError as error:
                        assert "main module cannot be imported" in str(error), error
                        assert "SystemExit: not here" in str(error), error
                    else:
                        raise AssertionError
                worker.call(abs, -1)
    """)


POOL = """
    import builtins
    import multiprocessing
    import lineshaft as ls
    import helper

    print("set up")
    builtins.answer = 42

    def main():
        with ls.Pool(1, context=multiprocessing.get_context("spawn")) as pool:
            try:
                print(pool.apply(helper.answer_of_the_program))
            except Exception as error:
                print(repr(error))
"""

FAILED = "the main module cannot be imported in a worker process"

HELPER = """
    def answer_of_the_program():
        return answer
"""


@pytest.mark.parametrize(
    ("end", "printed"),
    [
        ('if __name__ == "__main__": main()', ["set up", "set up", "42"]),
        ("main()", ["set up", "NameError(\"name 'answer' is not defined\")"]),
        (
            'if __name__ == "__main__": main()\n    else: 1 / 0',
            [
                "set up",
                "set up",
                f"ImportError('{FAILED}: ZeroDivisionError: division by zero')",
            ],
        ),
    ],
    ids=["guarded", "unguarded", "failing"],
)
def test_a_pool_imports_it_for_functions_of_other_modules_too(file_script, end, printed):
    assert file_script(f"{POOL}\n    {end}\n", helper=HELPER).splitlines() == printed


def test_what_an_initializer_assigned_stays(file_script):
    file_script("""
        import threading
        LOCK = threading.Lock()
        value = None

        def set_up(new):
            globals()["value"] = new

        def read():
            return globals()["value"]

        def locked():
            with LOCK:
                return globals()["value"]

        if __name__ == "__main__":
            with Worker() as worker:
                worker.call(set_up, 7)
                assert worker.call(read) == 7
                assert worker.call(locked) == 7
    """)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ('__name__ == "__main__"', True),
        ('"__main__" == __name__', True),
        ('__name__ == "__main__" and x', True),
        ('__name__ != "__main__"', False),
        ('__name__ == "main"', False),
        ('__name__ == "__main__" or x', False),
        ('x == "__main__"', False),
    ],
)
def test_guards(test, expected):
    assert _is_guard(ast.parse(test, mode="eval").body) is expected


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("a = b = c", "ab"),
        ("a, (b, *c) = d", "abc"),
        ("import a.x, x as b\nfrom x import c as d, e", "abde"),
        ("def a(b): c = 1\nclass d:\n  e = 1", "ad"),
        ("for a in b:\n  c = 1\nwith d as e: f += 1", "acef"),
        ("try: a = 1\nexcept X as b: c = 1", "abc"),
        ("if a:\n  b = 1\nelse:\n  c = [d for d in e]", "bc"),
        ("(a := 1)", "a"),
        ("match a:\n  case {'x': b, **c}: d = 1\n  case [*e] | (1 as f): pass", "bcdef"),
        ("a.b = c[d] = 1", ""),
    ],
)
def test_names_that_statements_bind(code, names):
    assert _names_bound(ast.parse(code).body) == set(names)
