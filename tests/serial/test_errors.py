"""What cannot travel, and exceptions that do."""

import pickle
import threading

import pytest

from lineshaft import errors
from lineshaft._serial import worker
from lineshaft._serial.explain import explain
from lineshaft._serial.parent import Encoder, load_exception, load_result


class Config(dict):
    pass


class Holder:
    def __init__(self, inner):
        self.inner = inner


class Slotted:
    __slots__ = ("lock",)

    def __init__(self):
        self.lock = threading.Lock()


class Refuses:
    def __reduce__(self):
        raise ValueError("not me")


class Stateful:
    def __init__(self):
        self.kept = threading.Lock()

    def __getstate__(self):
        return {"renamed": self.kept}


def work(x, y=None):
    return x


def _captures():
    lock = threading.Lock()
    return lambda: lock


def _nested():
    x = Holder(None)
    x.config = Config(lock=Holder(threading.Lock()))
    return x


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (_nested(), "x.config['lock'].inner is a _thread.lock, which cannot be pickled"),
        ([1, (2, {3: threading.Lock()})], "x[1][1][3] is a _thread.lock, which cannot be pickled"),
        (Slotted(), "x.lock is a _thread.lock, which cannot be pickled"),
        (Holder(_captures()), "'lock' (captured by x.inner) is a _thread.lock, which cannot be pickled"),
        (Holder(Refuses()), "x.inner is a test_errors.Refuses, which cannot be pickled: ValueError: not me"),
        (Stateful(), "x.renamed is a _thread.lock, which cannot be pickled"),
        ((i for i in ()), "x is a generator, which cannot be pickled"),
        (Holder(i for i in ()).__init__, "x.__self__.inner is a generator, which cannot be pickled"),
        (Slotted, None),
    ],
)
def test_explain(value, text):
    if text is None:
        assert explain(value) == "value can be pickled by itself"
    else:
        assert explain(value, "argument 'x'") == text.replace("test_errors", __name__)


def test_explain_stops_in_cycles_and_in_large_values():
    cycle = [1]
    cycle.append({"again": cycle, "lock": threading.Lock()})
    assert explain(cycle) == "value[1]['lock'] is a _thread.lock, which cannot be pickled"
    large = [[i] for i in range(50_000)] + [threading.Lock()]
    assert explain(large).startswith("something inside value is a list")
    deep = None
    for _ in range(100_000):
        deep = [deep]
    assert explain(deep) == "value is a list, nested too deeply to be pickled"


def test_argument_is_named():
    encoder = Encoder()
    with pytest.raises(errors.SerializationError) as caught:
        encoder.dumps(((1,), {"y": _nested()}), call=work)
    assert str(caught.value) == (
        "cannot send argument 'y' of work() to a worker process: "
        "y.config['lock'].inner is a _thread.lock, which cannot be pickled"
    )
    assert isinstance(caught.value, pickle.PicklingError)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value.__cause__, TypeError)
    with pytest.raises(errors.SerializationError, match=r"cannot send value to a worker process: value\[0\] is a"):
        encoder.dumps([threading.Lock()])
    with pytest.raises(errors.SerializationError, match=r"cannot send _captures.*'lock' \(captured by"):
        encoder.code(_captures())


class Coded(Exception):  # noqa: N818
    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


@pytest.mark.parametrize(
    "error",
    [RuntimeError("no"), AttributeError("no"), KeyError("no"), ValueError("no"), Coded(1, "no")],
    ids=lambda error: type(error).__name__,
)
def test_what_an_argument_raises_is_caught_as_what_it_is(error):
    class Raises:
        def __reduce__(self):
            raise error

    for kind in (type(error), errors.SerializationError):
        with pytest.raises(kind, match=r"cannot send argument 'x' of work\(\) to a worker process: ") as caught:
            Encoder().dumps((([Raises()],), {}), call=work)
    assert caught.value.__cause__ is error
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), copy.was_sent) == (type(caught.value), str(caught.value), False)
    assert type(copy).__name__ == "SerializationError"


def test_memory_and_system_errors_stay_what_they_are():
    class Full:
        def __reduce__(self):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        Encoder().dumps(Full())


def test_unsendable_globals_do_not_fail_the_task(script):
    script("""
        import multiprocessing
        import threading
        lock = threading.Lock()
        queue = multiprocessing.Queue()
        event = multiprocessing.Event()
        value = multiprocessing.Value("i", 0)
        file = open(__import__("os").devnull, "w")
        class Bad:
            lock = threading.Lock()
        w = Worker()
        def work(which):
            if which == "lock":
                return lock
            if which == "queue":
                return queue
            if which == "event":
                return event
            if which == "value":
                return value
            if which == "file":
                return file
            if which == "pool":
                return w
            if which == "Bad":
                return Bad
            if which == "typo":
                return undefined
            return which
        assert w.call(work, 5) == 5
        start = len(w.sent)
        assert w.call(work, 6) == 6 and len(w.sent) == start
        def notes(which):
            try:
                w.call(work, which)
            except NameError as e:
                return " ".join(getattr(e, "__notes__", ["none"]))
        prefix = "global 'lock' of __main__ could not be sent to the worker: "
        assert notes("lock") == prefix + "lock is a _thread.lock, which cannot be pickled", notes("lock")
        for name in ("queue", "event", "value"):
            assert "inherit" in notes(name) and "Manager" in notes(name), notes(name)
        assert "file is a _io.TextIOWrapper" in notes("file"), notes("file")
        assert "a pool cannot be pickled" in notes("pool"), notes("pool")
        assert "Bad.lock is a _thread.lock" in notes("Bad"), notes("Bad")
        assert notes("typo") == "none"
        def by_argument(f):
            return f()
        try:
            w.call(by_argument, lambda: lock)
        except NameError as e:
            assert "'lock'" in e.__notes__[0]
        try:
            w.call(by_argument, Bad())
        except TypeError as e:
            assert "it needs 'Bad' of __main__, but Bad.lock is a _thread.lock" in str(e), e
        lock = 5
        assert w.call(work, "lock") == 5
        w.close()
    """)


def test_what_cannot_be_loaded_in_the_worker(file_script):
    out = file_script("""
        import sys, types
        gone = types.ModuleType("gone")
        gone.__spec__ = sys.__spec__
        sys.modules["gone"] = gone
        class Picky:
            def __setstate__(self, state):
                raise ValueError("not here")
        picky = Picky()
        picky.x = 1
        def work(which):
            if which == "gone":
                return gone
            if which == "picky":
                return picky
            return which
        def needs(x=picky):
            return x
        with Worker() as w:
            print(w.call(work, 1))
            for call in ((work, "gone"), (work, "picky"), (needs,), (needs,), (work, picky)):
                try:
                    w.call(*call)
                except Exception as e:
                    print(type(e).__name__, getattr(e, "__notes__", [e])[0])
    """)
    could_not = "could not be sent to the worker: loading it raised"
    assert out.splitlines() == [
        "1",
        f"NameError global 'gone' of __main__ {could_not} ModuleNotFoundError: No module named 'gone'",
        f"NameError global 'picky' of __main__ {could_not} ValueError: not here",
        "ValueError not here",
        "ValueError not here",
        "ValueError not here",
    ]


def test_exception_keeps_everything(script):
    script("""
        class AppError(ValueError):
            pass
        class Coded(Exception):
            def __init__(self, code, text):
                super().__init__(text)
                self.code = code
        class Prefixed(Exception):
            def __init__(self, text):
                super().__init__("prefix " + text)
        class Locked(Exception):
            def __init__(self, text):
                import threading
                super().__init__(text)
                self.lock = threading.Lock()
        def fail(kind):
            if kind == "chain":
                try:
                    try:
                        {}["key"]
                    except KeyError as e:
                        raise AppError("inner", 2) from e
                except AppError:
                    error = OSError(2, "gone", "file.txt")
                    error.extra = [1]
                    error.add_note("a note")
                    raise error
            if kind == "coded":
                raise Coded(7, "seven")
            if kind == "prefixed":
                raise Prefixed("x")
            if kind == "locked":
                raise Locked("x")
            if kind == "local":
                class Local(Exception):
                    pass
                raise Local("l")
            if kind == "group":
                raise ExceptionGroup("g", [Coded(1, "a"), AppError("b")])
            if kind == "exit":
                raise SystemExit(3)
        def caught(kind):
            try:
                w.call(fail, kind)
            except BaseException as e:
                return e
        w = Worker()
        e = caught("chain")
        assert type(e) is FileNotFoundError and e.filename == "file.txt" and e.errno == 2
        assert e.extra == [1] and e.__notes__ == ["a note"]
        assert type(e.__context__) is AppError and e.__context__.args == ("inner", 2)
        assert type(e.__context__.__cause__) is KeyError
        text = str(e.__cause__)
        assert text.startswith('\\n\"\"\"\\nTraceback') and text.endswith('\"\"\"'), text
        assert "KeyError: 'key'" in text and "in fail" in text and "_serial" not in text, text
        e = caught("coded")
        assert type(e) is Coded and e.code == 7 and e.args == ("seven",) and str(e) == "seven"
        e = caught("prefixed")
        assert type(e) is Prefixed and str(e) == "prefix x"
        e = caught("locked")
        assert type(e).__name__ == "RemoteError" and e.type_name == "__main__.Locked" and str(e) == "__main__.Locked: x"
        assert "in fail" in e.traceback and "_thread.lock" in e.__notes__[0] and e.representation == "Locked('x')"
        e = caught("local")
        assert type(e).__name__ == "Local" and e.args == ("l",), e
        e = caught("group")
        assert [type(x) for x in e.exceptions] == [Coded, AppError], e
        assert e.exceptions[0].code == 1
        e = caught("exit")
        assert type(e) is SystemExit and e.code == 3
        w.close()
    """)


class Shouted(Exception):  # noqa: N818
    def __init__(self, message):
        super().__init__(message)
        self.message = message.upper()

    def __reduce__(self):
        return Shouted, (self.message,)


class Elsewhere(Exception):  # noqa: N818
    def __reduce__(self):
        return ValueError, ("other",)


def test_exception_that_pickle_changes():
    # Whoever catches its class gets it; one of another class would be caught by nobody, or by the wrong handler.
    copy = load_exception(worker.dumps_exception(Shouted("not found")))
    assert (type(copy), str(copy)) == (Shouted, "NOT FOUND")
    copy = load_exception(worker.dumps_exception(Elsewhere("here")))
    assert (type(copy), copy.reason) == (errors.RemoteError, "it loads as ValueError")


def test_exception_that_loads_only_in_the_worker(file_script):
    out = file_script("""
        import sys
        def fail():
            import types
            module = types.ModuleType("only_here")
            sys.modules["only_here"] = module
            exec("class E(Exception): pass", module.__dict__)
            raise module.E("text")
        with Worker() as w:
            try:
                w.call(fail)
            except Exception as e:
                print(type(e).__name__, e, "ModuleNotFoundError" in e.__notes__[0])
    """)
    assert out == "RemoteError only_here.E: text True\n"


def test_result_that_cannot_be_loaded():
    with pytest.raises(errors.SerializationError, match="its result cannot be loaded here: No module named 'nowhere'"):
        load_result(b"cnowhere\nname\n.")


def test_exception_whose_str_fails():
    class Odd(Exception):  # noqa: N818
        def __str__(self):
            raise RuntimeError("no")

    try:
        raise Odd
    except Odd as error:
        copy = load_exception(worker.dumps_exception(error))
    assert "Odd" in type(copy).__name__ + getattr(copy, "type_name", "")


def test_error_classes_can_be_pickled():
    died = errors.WorkerDied("t", signal=11, exit_code=None, peak_memory_bytes=5, stack="File x")
    copy = pickle.loads(pickle.dumps(died))
    assert type(copy) is errors.WorkerDied
    assert (copy.task, copy.signal, copy.peak_memory_bytes) == ("t", 11, 5)
    assert str(copy) == (
        "a worker process died while running 't': killed by SIGSEGV; peak memory 5 B\n"
        "last Python stack of the worker:\nFile x"
    )
    assert "status 3" in str(errors.WorkerDied(exit_code=3))
    remote = pickle.loads(pickle.dumps(errors.RemoteError("a.B", "m", "B('m')", "tb", "why")))
    assert (remote.type_name, remote.traceback, remote.reason) == ("a.B", "tb", "why")
    for cls in (errors.SerializationError, errors.TaskTimeout, errors.EngineClosed, errors.RemoteTraceback):
        assert pickle.loads(pickle.dumps(cls("text"))).args == ("text",)
    assert issubclass(errors.TaskTimeout, TimeoutError)
    assert issubclass(errors.EngineClosed, RuntimeError)
