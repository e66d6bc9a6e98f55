"""Functions of ``__main__`` and what they need, in scripts without a guard."""


def test_function_with_globals(script):
    script("""
        import math
        import os.path as path
        import xml.dom.minidom
        OFFSET = 10
        def helper(x):
            return x + OFFSET
        def work(x):
            return helper(x), math.sqrt(x), path.basename("a/b"), xml.dom.minidom.__name__, __name__
        with Worker() as w:
            assert w.call(work, 4) == (14, 2.0, "b", "xml.dom.minidom", "__main__")
            assert w.call(helper, 5) == 15
    """)


def test_initializer_pattern(script):
    script("""
        shared = None
        def init(x):
            global shared, late
            shared = x
            late = x + 1
        def work(i):
            return shared[i], late
        def work2():
            return shared
        def init(x):
            global shared, late
            shared = x
            late = len(x)
        with Worker() as w:
            w.call(init, [5, 6, 7])
            assert w.call(work, 1) == (6, 3)
            assert w.call(work2) == [5, 6, 7]
            assert w.call(work, 2) == (7, 3)
            shared = {1: "new"}
            assert w.call(work, 1) == ("new", 3)
    """)


def test_initializer_through_globals_dict_wins_over_what_is_sent_later(script):
    script("""
        shared = None
        def init(x):
            globals()["shared"] = x
        def work():
            return shared
        with Worker() as w:
            w.call(init, 3)
            assert w.call(work) == 3
    """)


def test_recursion_and_mutual_recursion(script):
    script("""
        def factorial(n):
            return 1 if n < 2 else n * factorial(n - 1)
        def even(n):
            return n == 0 or odd(n - 1)
        def odd(n):
            return n != 0 and even(n - 1)
        with Worker() as w:
            assert w.call(factorial, 5) == 120
            assert w.call(even, 10) and not w.call(odd, 10)
    """)


def test_unchanged_is_sent_once_and_rebinding_is_seen(script):
    script("""
        x = [1]
        def g():
            return x
        def f():
            return g()
        with Worker() as w:
            assert w.call(f) == [1]
            code = w.encoder.code(f)
            assert w.encoder.code(f) is code
            count = len(w.sent)
            assert w.call(f) == [1] and len(w.sent) == count
            x = [2]
            assert w.call(f) == [2]
            assert w.sent[count:] == ["x", "f"], w.sent
            def g():
                return x + x
            assert w.call(f) == [2, 2]
            x = 1
            assert w.call(g) == 2
            x = 2
            assert w.call(g) == 4
            x = 1
            assert w.call(g) == 2
            del x
            try:
                w.call(g)
            except NameError as e:
                assert e.args[0] == "name 'x' is not defined", e.args
            else:
                raise AssertionError
    """)


def test_each_task_sees_the_globals_of_its_submission(script):
    script("""
        x = 0
        def f():
            return x
        w = Worker()
        tasks = []
        for x in range(4):
            tasks.append(w.encode(f))
        lambdas = []
        for x in range(4):
            lambdas.append(w.encode(map, lambda i: i + x, [1]))
        assert [w.run(*task) for task in reversed(tasks)] == [3, 2, 1, 0]
        assert [w.run(*task) for task in tasks] == [0, 1, 2, 3]
        def call(g):
            return g(1)
        lambdas = []
        for x in range(4):
            lambdas.append(w.encode(call, lambda i: i + x))
        assert [w.run(*task) for task in reversed(lambdas)] == [4, 3, 2, 1]
        w.close()
    """)


def test_lambda_closure_partial_and_method(script):
    script("""
        import functools
        OFFSET = 100
        def make(n):
            count = 0
            def inc():
                nonlocal count
                count += n
                return count + OFFSET
            def get():
                return count
            def fact(k):
                return 1 if k < 2 else k * fact(k - 1)
            return inc, get, fact
        class Counter:
            def __init__(self, start):
                self.start = start
            def add(self, x):
                return self.start + x + OFFSET
            @classmethod
            def made(cls, x):
                return cls(x).start
            @staticmethod
            def plain(x):
                return x + OFFSET
            def __call__(self, x):
                return self.start * x
            def __secret(self, x):
                return self.start - x
            def secret(self):
                return self.__secret
        def both(inc, get):
            inc()
            return inc(), get()
        square = lambda x: x * x
        def use(x):
            return square(x)
        with Worker() as w:
            inc, get, fact = make(2)
            assert w.call(inc) == 102
            assert w.call(both, inc, get) == (104, 4)
            assert w.call(fact, 5) == 120
            assert w.call(lambda x: x + OFFSET, 1) == 101
            assert w.call(square, 4) == 16 and w.call(use, 5) == 25
            assert w.call(functools.partial(lambda a, b: a - b, 10), 3) == 7
            assert w.call(functools.partial(use, 3)) == 9
            c = Counter(5)
            assert w.call(c.add, 1) == 106
            c.start = 6
            assert w.call(c.add, 1) == 107
            assert w.call(Counter.made, 3) == 3 and w.call(c.plain, 1) == 101
            assert w.call(c, 2) == 12 and w.call(Counter.add, c, 1) == 107
            assert w.call(c.secret(), 1) == 5
            assert w.call(Counter, 9).start == 9
            assert type(w.call(Counter, 9)) is Counter
            assert w.encoder.code(c.add) is w.encoder.code(c.add)
    """)


def test_decorated_functions(script):
    script("""
        import functools
        import contextlib
        LOG = 7
        def deco(f):
            @functools.wraps(f)
            def inner(*args):
                return LOG, f(*args)
            inner.original = f
            return inner
        @deco
        def f(x):
            return x + LOG
        @functools.lru_cache(maxsize=5)
        def cached(x):
            return 1 if x < 2 else x * cached(x - 1)
        @functools.singledispatch
        def kind(x):
            return "other"
        @kind.register
        def _(x: int):
            return "int"
        @contextlib.contextmanager
        def ten():
            yield 10 + LOG
        def use():
            with ten() as value:
                return value, f(1), cached(4), kind(1), kind(""), cached.cache_parameters()["maxsize"]
        with Worker() as w:
            assert w.call(f, 1) == (7, 8)
            assert w.call(f.original, 1) == 8
            assert w.call(cached, 4) == 24
            assert w.call(kind, 3) == "int"
            assert w.call(use) == (17, (7, 8), 24, "int", "other", 5)
    """)


def test_defaults_annotations_and_attributes(script):
    script("""
        class A:
            pass
        DEFAULT = A()
        def f(x: A = DEFAULT, *, y: "B" = 5) -> A:
            "doc"
            f.calls += 1
            return type(x) is A, y, f.calls, f.__doc__, f.__annotations__["x"] is A, f.__qualname__
        f.calls = 1
        class B:
            pass
        with Worker() as w:
            assert w.call(f) == (True, 5, 2, "doc", True, "f")
            assert w.call(f) == (True, 5, 3, "doc", True, "f")
    """)


def test_circle_of_hard_needs(script):
    script("""
        class A:
            pass
        class B(A):
            pass
        A.child = B
        A.me = A()
        def f(x=B):
            return g()
        def g(h=f):
            return "g"
        A.run = f
        def check():
            return A.child is B, type(A.me) is A, A.run is f, f.__defaults__ == (B,), g.__defaults__ == (f,), f()
        with Worker() as w:
            assert w.call(check) == (True, True, True, True, True, "g")
            assert isinstance(w.call(A.child), B)
            assert w.call(f) == "g" and w.call(g) == "g"
        with Worker() as w:
            assert w.call(g) == "g"
    """)


def test_function_in_function_and_class_body_reads_globals(script):
    script("""
        SIZE = 3
        def outer():
            class Inner:
                size = SIZE
                def get(self):
                    return [SIZE for _ in range(2)]
            return Inner.size, Inner().get()
        with Worker() as w:
            assert w.call(outer) == (3, [3, 3])
    """)


def test_import_inside_aliases_and_builtins(script):
    script("""
        import collections as c
        from os.path import join
        import numpy as np
        def work():
            return c.Counter("aab")["a"], join("a", "b"), len([1]), np.arange(3).sum()
        alias = work
        def through_alias():
            return alias is work, alias()[0]
        with Worker() as w:
            assert w.call(work) == (2, "a/b", 1, 3)
            assert w.call(len, [1, 2]) == 2
            assert w.call(np.sum, [1, 2]) == 3
            assert w.call(through_alias) == (True, 2)
            def len(x):
                return 77
            assert w.call(work)[2] == 77
            del len
            assert w.call(work)[2] == 1
    """)


def test_library_decorator_takes_along_what_it_looks_up(file_script):
    out = file_script(
        """
        import deco
        @deco.counted
        def f(x):
            return x + 1
        deco.step = 10
        with Worker() as w:
            print(w.call(f, 1), w.call(f, 2), w.call(deco.calls), deco.calls())
    """,
        deco="""
        import functools, threading
        lock = threading.Lock()  # cannot be sent: the worker's own has to do
        step = 1
        count = 0
        def counted(f):
            @functools.wraps(f)
            def inner(*args):
                global count
                with lock:
                    count += step
                return f(*args), count
            return inner
        def calls():
            return count
    """,
    )
    assert out == "(2, 10) (3, 20) 0 0\n"


def test_local_functions_of_a_module_find_its_globals_as_they_are(file_script):
    out = file_script(
        """
        import app
        with Worker() as w:
            app.main(w)
    """,
        app="""
        config, cache, fact, limit = None, {}, None, 1

        def double(x):
            return 2 * x

        def main(w):
            global config, fact, limit
            config = {"scale": 10}
            cache["k"] = 5
            fact = lambda n: 1 if n == 0 else n * fact(n - 1)

            class Model:
                def fit(self, x):
                    return x * config["scale"]

            def bump():
                global limit
                limit += 1

            def work(x):
                return double(x) * config["scale"] + cache.get("k", -1000)

            print(w.call(work, 1), w.call(lambda: (config, cache)), w.call(Model.fit, None, 2), w.call(fact, 5))
            print(w.call(lambda pair: (pair[0](), pair[1]())[1], (bump, lambda: limit)))
            read = lambda: limit
            found = [w.call(read)]
            limit = 7
            print(found, w.call(read))
    """,
    )
    assert out == "25 ({'scale': 10}, {'k': 5}) 20 120\n2\n[1] 7\n"


def test_registered_by_value_module(file_script, tmp_path):
    out = file_script(
        """
        import sys, os, importlib
        os.mkdir("hidden")
        os.rename("secret.py", "hidden/secret.py")
        sys.path.insert(0, "hidden")
        import secret, cloudpickle
        sys.path.pop(0)
        with Worker() as w:
            try:
                w.call(secret.f, 1)
            except ModuleNotFoundError as e:
                print("missing")
        cloudpickle.register_pickle_by_value(secret)
        def use(x):
            return secret.f(x)
        with Worker() as w:
            print(w.call(secret.f, 1), w.call(map, secret.f, [1]).__class__.__name__)
            print(w.call(use, 5))
    """,
        secret="""
        BASE = 10
        def g(x):
            return x + BASE
        def f(x):
            return g(x)
    """,
    )
    assert out == "missing\n11 map\n15\n"


def test_text_main_in_data(script):
    script("""
        def f(x):
            return x
        with Worker() as w:
            text = "__main__ is only text"
            assert w.call(f, text) == text and w.call(f, [text.encode()]) == [text.encode()]
            encoded = w.encoder.dumps([text])
            assert encoded.definitions == ()
    """)
