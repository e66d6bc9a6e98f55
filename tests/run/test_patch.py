"""Serving libraries: every way to a served name leads to Lineshaft, and undoing leaves no trace.

Each case is a program in an interpreter of its own, run twice: with the libraries imported before
they are served, and after.
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

BEFORE = """
import asyncio, concurrent.futures.process, concurrent.futures.thread, multiprocessing.pool, multiprocessing.dummy
"""
START = """
import sys
import lineshaft
lineshaft.__path__.insert(0, {stub!r})
{before}
from lineshaft import _patch
assert _patch.apply() == ["concurrent.futures", "multiprocessing", "joblib", "dask"] == _patch.apply()
"""


@pytest.fixture(params=["", BEFORE], ids=["imported-after", "imported-before"])
def check(request):
    """Return a function that runs a program with everything served by the stub."""

    def run(program):
        text = START.format(stub=str(Path(__file__).parent / "stub"), before=request.param) + textwrap.dedent(program)
        done = subprocess.run(
            [sys.executable, "-W", "error::ResourceWarning", "-c", text],
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    return run


@pytest.mark.parametrize("name", ["ProcessPoolExecutor", "ThreadPoolExecutor"])
def test_every_import_of_an_executor(check, name):
    module = "process" if name.startswith("Process") else "thread"
    check(f"""
        import concurrent.futures
        import concurrent.futures as cf
        from concurrent import futures
        from concurrent.futures import {name} as by_from
        from concurrent.futures.{module} import {name} as by_module
        from concurrent.futures import *
        found = [concurrent.futures.{name}, cf.{name}, futures.{name}, by_from, by_module, {name},
                 getattr(concurrent.futures, "{name}"), concurrent.futures.{module}.{name}]
        assert {{cls.__module__ for cls in found}} == {{"lineshaft.futures"}}, found
        assert len(set(found)) == 1
        assert issubclass(cf.{name}, cf.Executor)
        class Own(cf.{name}):
            pass
        with Own(2) as executor:
            assert isinstance(executor, cf.{name})
            assert list(executor.map(abs, [-1, 2])) == [1, 2]
    """)


def test_submodules_are_there_without_being_imported(check):
    check("""
        import concurrent.futures
        assert issubclass(concurrent.futures.process.BrokenProcessPool, concurrent.futures.BrokenExecutor)
        assert concurrent.futures.process is sys.modules["concurrent.futures.process"]
        assert concurrent.futures.thread.ThreadPoolExecutor is concurrent.futures.ThreadPoolExecutor
        _patch.undo()
        assert concurrent.futures.process.ProcessPoolExecutor is concurrent.futures.ProcessPoolExecutor
    """)


def test_every_way_to_a_pool(check):
    check("""
        import multiprocessing, multiprocessing.pool, multiprocessing.dummy
        from multiprocessing import Pool
        from multiprocessing.pool import Pool as PoolClass, ThreadPool
        from multiprocessing.dummy import Pool as DummyPool
        makers = [Pool, PoolClass, ThreadPool, DummyPool, multiprocessing.Pool, multiprocessing.pool.ThreadPool,
                  multiprocessing.get_context("spawn").Pool, multiprocessing.get_context().Pool]
        for make in makers:
            with make(1) as pool:
                assert type(pool).__module__ == "lineshaft.pool", make
                assert isinstance(pool, multiprocessing.pool.Pool)
                assert pool.apply(abs, (-1,)) == 1
            pool.join()
        assert issubclass(multiprocessing.pool.ThreadPool, multiprocessing.pool.Pool)
    """)


def test_the_rest_of_multiprocessing_is_untouched(check):
    check("""
        import multiprocessing
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=queue.put, args=(1,))
        process.start()
        assert queue.get() == 1
        process.join()
        with context.Manager() as manager:
            assert manager.list([1])[0] == 1
            with manager.Pool(1) as pool:
                assert pool.map(abs, [-1]) == [1]
                assert str(pool).startswith("<multiprocessing.pool.Pool ")
    """)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_manager_that_is_sent_what_it_serves_has_the_original_pool(check, method):
    check(f"""
        import multiprocessing
        with multiprocessing.get_context("{method}").Manager() as manager:
            assert manager.list([1])[0] == 1
            with manager.Pool(1) as pool:
                assert pool.map(abs, [-1]) == [1]
                assert str(pool).startswith("<multiprocessing.pool.Pool ")
    """)


def test_asyncio_uses_and_accepts_the_served_class(check):
    check("""
        import asyncio, concurrent.futures
        async def main():
            loop = asyncio.get_running_loop()
            assert await loop.run_in_executor(None, abs, -1) == 1
            assert await asyncio.to_thread(abs, -2) == 2
            assert type(loop._default_executor).__module__ == "lineshaft.futures"
            loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(1))
            assert await asyncio.to_thread(abs, -3) == 3
            with concurrent.futures.ProcessPoolExecutor(1) as executor:
                assert await loop.run_in_executor(executor, abs, -4) == 4
        asyncio.run(main())
    """)


def test_nothing_is_imported_until_it_is_needed():
    program = (
        "import sys; from lineshaft import _patch; before = set(sys.modules); _patch.apply();"
        "assert set(sys.modules) == before, set(sys.modules) - before;"
        "import concurrent.futures;"
        "assert 'concurrent.futures.process' not in sys.modules;"
        "assert 'lineshaft.futures' not in sys.modules"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-S", "-c", program], check=True, timeout=60, env=env)


def test_undo_restores_the_modules(check):
    check("""
        import types, concurrent.futures, concurrent.futures.process, concurrent.futures.thread, multiprocessing.pool
        import multiprocessing.managers
        served = [concurrent.futures.ThreadPoolExecutor, multiprocessing.pool.Pool]
        assert _patch.undo(["multiprocessing"]) == ["concurrent.futures", "joblib", "dask"]
        assert multiprocessing.pool.Pool.__module__ == "multiprocessing.pool"
        assert multiprocessing.managers.SyncManager._registry["Pool"][0] is multiprocessing.pool.Pool
        assert _patch.undo() == [] == _patch.undo()
        assert concurrent.futures.ThreadPoolExecutor.__module__ == "concurrent.futures.thread"
        assert concurrent.futures.ProcessPoolExecutor.__module__ == "concurrent.futures.process"
        for module in (concurrent.futures, concurrent.futures.process, concurrent.futures.thread, multiprocessing.pool):
            assert type(module) is types.ModuleType
            assert "_patch" not in type(module.__spec__.loader).__module__
        assert not [finder for finder in sys.meta_path if "lineshaft" in type(finder).__module__]
        _patch.apply()
        assert [concurrent.futures.ThreadPoolExecutor, multiprocessing.pool.Pool] == served
    """)


def test_undo_before_anything_was_imported():
    program = (
        "import sys; from lineshaft import _patch; _patch.apply(); _patch.undo();"
        "from concurrent.futures import ThreadPoolExecutor as T; assert T.__module__ == 'concurrent.futures.thread';"
        "from multiprocessing.pool import Pool as P; assert P.__module__ == 'multiprocessing.pool'"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=env)


def test_the_original_classes_go_on_working(check):
    check("""
        import concurrent.futures.thread, multiprocessing.pool
        original = vars(multiprocessing.pool)["ThreadPool"]
        with original(1) as pool:
            assert type(pool).__module__ == "multiprocessing.pool"
            assert pool.map(abs, [-1]) == [1]
        pool.join()
        with vars(concurrent.futures.thread)["ThreadPoolExecutor"](1) as executor:
            assert executor.submit(abs, -1).result() == 1
    """)


def test_a_mock_replaces_and_gives_back(check):
    check("""
        import concurrent.futures, multiprocessing.pool
        from unittest import mock
        for target in ("concurrent.futures.ThreadPoolExecutor", "multiprocessing.pool.Pool"):
            module_name, _, name = target.rpartition(".")
            module = sys.modules[module_name]
            served = getattr(module, name)
            with mock.patch(target) as fake:
                assert getattr(module, name) is fake
            assert getattr(module, name) is served
    """)


def test_served_modules_are_modules_by_every_test(check):
    check("""
        import concurrent.futures, inspect, types, importlib, importlib.util, pickle, copy, pydoc
        module = concurrent.futures
        assert inspect.ismodule(module) and isinstance(module, types.ModuleType)
        assert type(module).__name__ == "module"
        assert repr(module).startswith("<module 'concurrent.futures' from ")
        assert inspect.getsource(module)
        assert importlib.reload(module) is module
        assert module.ThreadPoolExecutor.__module__ == "lineshaft.futures"
        assert importlib.util.find_spec("concurrent.futures.thread").loader.get_code("concurrent.futures.thread")
        import cloudpickle
        assert pickle.loads(cloudpickle.dumps(module)) is module
        def uses_module():
            return module.Future
        assert pickle.loads(cloudpickle.dumps(uses_module))() is module.Future
    """)
