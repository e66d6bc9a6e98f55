"""Globals, closures and attributes that are changed in place between calls."""


def test_what_was_changed_in_place_is_sent_anew_when_asked_for(script):
    script("""
        class Base:
            scale = 1
        class Model(Base):
            seen = []
        settings, history, model = {"a": 0}, [0], Model()
        model.weight = 0
        def helper(default=[0]):
            return default
        def work(item):
            return settings["a"], history, Base.scale, Model.scale, Model.seen, model.weight, helper(), item.scale
        with Worker() as w:
            assert w.call(work, Model()) == (0, [0], 1, 1, [], 0, [0], 1)
            for n in (1, 2):
                settings["a"] = Base.scale = model.weight = n
                history[0] = helper.__defaults__[0][0] = n
                Model.seen.append(n)
                w.encoder.look_again()
                assert w.call(work, Model()) == (n, [n], n, n, list(range(1, n + 1)), n, [n], n)
            helper.__defaults__ = ("new",)
            w.encoder.look_again()
            assert w.call(work, Model())[6] == "new"
            helper.__defaults__ = ("newer",)
            w.encoder.look_again()
            assert w.call(work, Model())[6] == "newer"
    """)


def test_what_was_not_changed_is_not_sent_anew(script):
    script("""
        import collections, dataclasses, enum, functools
        settings = ("a", frozenset((1, 2, 3)))
        @dataclasses.dataclass
        class Point:
            x: int = 0
            def moved(self, by):
                return Point(self.x + by)
        class Colour(enum.Enum):
            RED = 1
        @functools.lru_cache
        def cached(x, *, scale=1):
            return settings, Colour.RED, x
        def work(x):
            return cached(x), Point().moved(x)
        with Worker() as w:
            w.call(work, 1)
            code, before = w.encoder.code(work), len(w.sent)
            for _ in range(3):
                w.encoder.look_again()
                w.call(work, 1)
                assert w.encoder.code(work) is code and len(w.sent) == before, (before, w.sent)
    """)


def test_what_calls_may_change_in_place_is_sent_anew(script):
    script("""
        settings, count, total = {"a": 0}, [0], 0
        class Counter:
            calls = 0
        def make():
            captured = 0
            def step():
                nonlocal captured
                captured += 1
                return captured
            return step
        step = make()
        def work(seen=[]):
            global total
            total += 1
            Counter.calls += 1
            settings["a"] += 1
            count[0] += 1
            seen.append(1)
            work.calls += 1
            return settings["a"], count[0], total, Counter.calls, len(seen), work.calls, step()
        work.calls = 0
        with Worker() as w:
            for _ in range(3):
                w.encoder.look_again()
                first = w.call(work)
                assert first == (1, 1, 1, 1, 1, 1, 1), first
                # Nobody looks again: the worker keeps it.
                second = w.call(work)
                assert second == (2, 2, 2, 2, 2, 2, 2), second
    """)


def test_a_file_that_is_read_goes_with_its_text(script):
    script("""
        import pathlib, tempfile
        path = pathlib.Path(tempfile.mkdtemp(), "text")
        path.write_text("one two")
        file = path.open()
        file.read(4)
        def rest():
            return file.read()
        with Worker() as w:
            assert w.call(rest) == "two"
            assert file.read() == "two"
    """)


def test_arrays_changed_in_place_are_sent_anew(script):
    script("""
        import numpy
        array = numpy.zeros(100_000)
        def total():
            return float(array.sum())
        with Worker() as w:
            assert w.call(total) == 0.0
            array[7] = 1.0
            w.encoder.look_again()
            assert w.call(total) == 1.0
    """)
