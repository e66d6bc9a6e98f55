"""After `os.fork` in the program: the child has an engine of its own or a clear error, the parent goes on."""

import pytest


def test_before_the_engine_starts(forking):
    assert (
        forking("""
        def child():
            assert ls.submit(pow, 2, 2).result() == 4
        in_child(child)
        assert ls.submit(pow, 2, 3).result() == 8
        in_child(child)
        print("ok")
        """)
        == "ok\n"
    )


def test_while_the_engine_is_idle(forking):
    assert (
        forking("""
        assert ls.submit(pow, 2, 2).result() == 4
        parents = set(ls.map(lambda _: os.getpid(), range(20)))
        def child():
            assert list(ls.map(abs, range(-5, 0))) == [5, 4, 3, 2, 1]
            assert not parents & set(ls.map(lambda _: os.getpid(), range(20)))
            with ls.ProcessPoolExecutor(2) as executor:
                assert list(executor.map(pow, [2, 3], [2, 2])) == [4, 9]
            with ls.ThreadPoolExecutor(2) as executor:
                assert list(executor.map(pow, [2, 3], [2, 2])) == [4, 9]
        in_child(child)
        assert list(ls.map(abs, range(-5, 0))) == [5, 4, 3, 2, 1]
        in_child(child)
        assert parents & set(ls.map(lambda _: os.getpid(), range(20)))
        print("ok")
        """)
        == "ok\n"
    )


def test_while_calls_run(forking):
    assert (
        forking("""
        import time
        def wait(path):
            while not os.path.exists(path):
                time.sleep(0.002)
            return "done"
        futures = [ls.submit(wait, "go") for _ in range(4)]
        def child():
            assert ls.submit(pow, 2, 2).result() == 4
        in_child(child)
        open("go", "w").close()
        assert [future.result(30) for future in futures] == ["done"] * 4
        print("ok")
        """)
        == "ok\n"
    )


def test_what_belongs_to_the_parent_says_so(forking):
    assert (
        forking("""
        def wait(path):
            import time
            while not os.path.exists(path):
                time.sleep(0.002)
        engine = ls.Engine(workers=1)
        executor = ls.ProcessPoolExecutor(1)
        threads = ls.ThreadPoolExecutor(1)
        finished = engine.submit(pow, 2, 2)
        finished.result()
        pending = executor.submit(wait, "go")
        def refused(act):
            try:
                act()
            except RuntimeError as error:
                assert "parent process" in str(error) or "fork" in str(error), error
                return
            raise AssertionError("no error")
        def child():
            assert finished.result() == 4
            refused(lambda: engine.submit(pow, 2, 2))
            refused(lambda: pending.result(5))
            refused(pending.cancel)
            assert not pending.done() and not pending.running()
            repr(pending), repr(engine)
            executor.shutdown()
            threads.shutdown()
            engine.shutdown()
        in_child(child)
        open("go", "w").close()
        pending.result(30)
        assert engine.submit(pow, 2, 3).result() == executor.submit(pow, 2, 3).result() == 8
        print("ok")
        """)
        == "ok\n"
    )


def test_a_child_that_ends_like_a_program(forking):
    """Not by `os._exit`: finalizers and exit handlers run in the child."""
    assert (
        forking("""
        executor = ls.ThreadPoolExecutor(2)
        futures = [executor.submit(pow, 2, n) for n in range(10)]
        ls.submit(pow, 2, 2).result()
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            assert ls.submit(pow, 2, 2).result() == 4
            sys.exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        assert [future.result() for future in futures] == [2**n for n in range(10)]
        print("ok")
        """)
        == "ok\n"
    )


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing(programs, method):
    programs.write(
        {
            "script.py": f"""
            import multiprocessing, os
            import lineshaft as ls

            def child(queue):
                with ls.ProcessPoolExecutor(2) as executor:
                    queue.put((list(executor.map(abs, [-1, -2])), ls.submit(pow, 2, 2).result()))

            if __name__ == "__main__":
                context = multiprocessing.get_context({method!r})
                assert ls.submit(pow, 2, 2).result() == 4
                queue = context.Queue()
                children = [context.Process(target=child, args=(queue,)) for _ in range(2)]
                for each in children:
                    each.start()
                assert [queue.get(timeout=30) for _ in children] == [([1, 2], 4)] * 2
                for each in children:
                    each.join(30)
                    assert each.exitcode == 0, each.exitcode
                assert ls.submit(pow, 2, 3).result() == 8
                print("ok")
            """
        }
    )
    assert programs.run("script.py") == ("ok\n", "")


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_functions_of_the_main_module_in_processes_of_multiprocessing(programs, method):
    programs.write(
        {
            "script.py": f"""
            import multiprocessing
            import lineshaft as ls

            class Point:
                def __init__(self, x):
                    self.x = x

            def double(point):
                return Point(2 * point.x)

            def child(queue):
                with ls.Pool(1) as pool:
                    queue.put((ls.submit(double, Point(2)).result(), pool.map(double, [Point(3)])))

            if __name__ == "__main__":
                context = multiprocessing.get_context({method!r})
                queue = context.Queue()
                process = context.Process(target=child, args=(queue,))
                process.start()
                submitted, [mapped] = queue.get(timeout=30)
                process.join(30)
                print(type(submitted) is type(mapped) is Point, submitted.x, mapped.x)
            """
        }
    )
    assert programs.run("script.py") == ("True 4 6\n", "")


def test_pools_of_others_in_the_same_program(forking):
    assert (
        forking("""
        import concurrent.futures, multiprocessing
        assert ls.submit(pow, 2, 2).result() == 4
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as theirs:
            assert list(theirs.map(abs, [-1, -2])) == [1, 2]
            assert list(ls.map(abs, [-1, -2])) == [1, 2]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(abs, [-1, -2]) == [1, 2]
        assert ls.submit(pow, 2, 3).result() == 8
        print("ok")
        """)
        == "ok\n"
    )


def test_a_grandchild(forking):
    assert (
        forking("""
        ls.submit(pow, 2, 2).result()
        def child():
            assert ls.submit(pow, 2, 2).result() == 4
            in_child(grandchild)
            assert ls.submit(pow, 2, 2).result() == 4
        def grandchild():
            assert ls.submit(pow, 2, 2).result() == 4
        in_child(child)
        print("ok")
        """)
        == "ok\n"
    )


def test_a_fork_in_a_worker(script):
    """A call that forks: what the child of the worker does is its own business, the worker goes on."""
    assert (
        script("""
        import os, sys
        import lineshaft as ls
        def fork():
            pid = os.fork()
            if pid == 0:
                os._exit(3)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        def run():
            import subprocess
            return subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout
        def process():
            import multiprocessing
            child = multiprocessing.get_context("fork").Process(target=abs, args=(1,))
            child.start()
            child.join(30)
            return child.exitcode
        with ls.ProcessPoolExecutor(1) as executor:
            print([executor.submit(each).result(30) for each in (fork, run, process, fork)])
        """)
        == "[3, '1\\n', 0, 3]\n"
    )


def test_a_child_of_a_worker_drops_and_logs(forking):
    """It has copies of the futures and definitions of the task that forked it, which it must not send off."""
    assert (
        forking("""
        import logging
        def square(n): return n * n
        def task():
            futures = [ls.submit(square, n) for n in range(8)]
            def child():
                logging.getLogger().warning("from the child " + "x" * 100_000)  # more than is held back
                futures.clear()
            stderr = os.dup(2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            try:
                in_child(child)
            finally:
                os.dup2(stderr, 2)
            return [future.result(timeout=30) for future in futures]
        with ls.Engine(workers=2) as engine:
            print(engine.submit(task).result(timeout=60))
        """)
        == "[0, 1, 4, 9, 16, 25, 36, 49]\n"
    )


def test_a_child_of_a_worker_has_an_engine_of_its_own(forking):
    assert (
        forking("""
        import concurrent.futures as cf, joblib
        def square(n): return n * n
        def squares(lo, hi): return [n * n for n in range(lo, hi)]
        def task():
            executor = ls.ProcessPoolExecutor(2)
            early = [ls.submit(square, n) for n in range(50)]
            assert executor.submit(square, 3).result(timeout=30) == 9
            unended = ls.submit(square, early[-1])
            def child():
                assert [ls.submit(square, n).result(timeout=30) for n in range(50, 100)] == squares(50, 100)
                assert list(executor.map(square, range(5), timeout=30)) == squares(0, 5)
                assert list(ls.map(square, range(5))) == squares(0, 5)
                with ls.ThreadPoolExecutor(2) as threads:
                    assert list(threads.map(square, range(5), timeout=30)) == squares(0, 5)
                with joblib.parallel_backend("lineshaft"):
                    calls = (joblib.delayed(square)(n) for n in range(9))
                    assert joblib.Parallel(n_jobs=2)(calls) == squares(0, 9)
            def child_of_multiprocessing(queue):
                queue.put([ls.submit(square, n).result(timeout=30) for n in range(100, 150)])
            in_child(child)
            import multiprocessing
            context = multiprocessing.get_context("fork")
            queue = context.SimpleQueue()
            process = context.Process(target=child_of_multiprocessing, args=(queue,))
            process.start()
            assert [future.result(timeout=30) for future in early] == squares(0, 50)
            assert queue.get() == squares(100, 150)
            process.join()
            assert [ls.submit(square, n).result(timeout=30) for n in range(50)] == squares(0, 50)
            return unended.result(timeout=30)
        with ls.Engine(workers=2) as engine:
            print(*[engine.submit(task).result(timeout=60) for _ in range(2)])
        """)
        == "5764801 5764801\n"
    )


def test_futures_of_a_task_in_a_child_that_it_forks(forking):
    """Those that have ended are of use there; the others raise rather than wait for ever."""
    assert (
        forking("""
        import concurrent.futures as cf, tempfile
        def read(path):
            with open(path) as fifo: return fifo.read()
        def task():
            path = tempfile.mkdtemp() + "/fifo"
            os.mkfifo(path)
            ended, reading = ls.submit(abs, -1), ls.submit(read, path)
            assert ended.result(timeout=30) == 1
            def child():
                assert ended.result() == 1 and not reading.done()
                assert cf.wait([ended]).done == {ended}
                def wait(): cf.wait([reading])
                def submit(): ls.submit(abs, reading).result()
                for use in (reading.result, reading.cancel, wait, submit):
                    try:
                        use()
                    except (RuntimeError, TypeError) as error:
                        assert "parent process" in str(error) or "another engine" in str(error), error
                    else:
                        raise AssertionError(use)
            try:
                in_child(child)
            finally:
                with open(path, "w") as fifo: fifo.write("read")
            return reading.result(timeout=30)
        with ls.Engine(workers=2) as engine:
            print(engine.submit(task).result(timeout=60))
        """)
        == "read\n"
    )


def test_a_child_of_a_worker_that_comes_back_from_the_call(forking):
    """It ends as it came back; the result is that of its parent."""
    assert (
        forking("""
        def task(how):
            pid = os.fork()
            if pid == 0:
                if how == "exits":
                    sys.exit(3)
                return "child"
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), os.getpid()
        with ls.ProcessPoolExecutor(1) as executor:
            hows = ["exits", "returns"] * 3
            codes, workers = zip(*[executor.submit(task, how).result(timeout=30) for how in hows])
            print(codes, len(set(workers)))
        """)
        == "(3, 0, 3, 0, 3, 0) 1\n"
    )


def test_executors_of_the_parent_are_the_childs_own_there(forking):
    assert (
        forking("""
        import concurrent.futures as cf
        unused, used = ls.ThreadPoolExecutor(2), ls.ThreadPoolExecutor(2)
        processes = ls.ProcessPoolExecutor(2)
        parents = {*used.map(lambda _: os.getpid(), range(3)), *processes.map(lambda _: os.getpid(), range(3))}
        def child():
            for threads in (unused, used):
                assert set(threads.map(lambda _: os.getpid(), range(3))) == {os.getpid()}
            assert not parents & set(processes.map(lambda _: os.getpid(), range(3)))
        in_child(child)
        for executor in (unused, used, processes):
            assert list(executor.map(abs, [-1, 2])) == [1, 2]
        print("ok")
        """)
        == "ok\n"
    )


def test_an_executor_inside_its_own_tasks(script):
    assert (
        script("""
        import lineshaft as ls
        threads, processes = ls.ThreadPoolExecutor(2), ls.ProcessPoolExecutor(2)
        def leaf(n):
            return n
        def total(n):
            return sum(processes.map(leaf, range(n))) + sum(threads.map(leaf, range(n)))
        assert list(processes.map(total, [3, 4, 5])) == [6, 12, 20]
        print("ok")
        """)
        == "ok\n"
    )
