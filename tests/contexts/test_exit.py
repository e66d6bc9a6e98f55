"""How programs end: what was submitted runs to its end, as with `concurrent.futures`, and nothing hangs or shouts."""

import os
import signal
import textwrap

import psutil
import pytest


def test_pending_calls_complete(script):
    for kind in ("ProcessPoolExecutor", "ThreadPoolExecutor"):
        out = script(f"""
            import time
            import lineshaft as ls
            def work(number):
                time.sleep(0.01)
                with open("trace-{kind}", "a") as file:
                    file.write("x")
            executor = ls.{kind}(2)
            for number in range(10):
                executor.submit(work, number)
            print("end", flush=True)
        """)
        assert out == "end\n"


def test_pending_calls_of_the_default_engine_complete(programs):
    programs.script("""
        import pathlib, time
        import lineshaft as ls
        def work(number):
            time.sleep(0.01)
            pathlib.Path(f"trace-{number}").touch()
        futures = [ls.submit(work, number) for number in range(10)]
        ls.task(work, threads=True).submit(10)
    """)
    assert len(list(programs.folder.glob("trace-*"))) == 11


def test_what_calls_print_at_the_end_is_shown(script):
    out = script("""
        import lineshaft as ls
        for number in range(5):
            ls.submit(print, number)
    """)
    assert sorted(out.split()) == list("01234")


def test_callbacks_at_the_end(script):
    out = script("""
        import time
        import lineshaft as ls
        def wait():
            time.sleep(0.1)
        for submit in (ls.submit, ls.ThreadPoolExecutor(1).submit):
            submit(wait).add_done_callback(lambda future: print("told", future.exception()))
    """)
    assert out == "told None\n" * 2


@pytest.mark.parametrize("kind", ["ProcessPoolExecutor", "ThreadPoolExecutor"])
@pytest.mark.parametrize("before", ["", "ls.Pool(1).apply(abs, (-1,))", "atexit.register(tell)"])
def test_exit_handlers_see_what_callbacks_have_collected(script, kind, before):
    """As in `concurrent.futures`, the program's callbacks come before its exit handlers, whoever was first."""
    out = script(f"""
        import atexit, time
        import lineshaft as ls
        collected = []
        def collect(future):
            time.sleep(0.01)
            collected.append(future.result())
        def more(future):
            ls.submit(abs, -2).add_done_callback(collect)
        def tell():
            print(len(collected))
        {before}
        left, executor = ls.{kind}(2), ls.{kind}(2)
        for submit in (left.submit, executor.submit, ls.submit):
            for number in range(20):
                submit(abs, number).add_done_callback(collect)
        executor.submit(abs, -1).add_done_callback(more)
        left.shutdown(wait=False)
        del left
        atexit.register(tell)
    """)
    assert set(out.split()) == {"61"}


def test_globals(script):
    assert (
        script("""
        import lineshaft as ls
        engine = ls.Engine(workers=1)
        executors = [ls.ProcessPoolExecutor(1), ls.ThreadPoolExecutor(1)]
        futures = [executor.submit(pow, 2, 2) for executor in executors] + [engine.submit(pow, 2, 2)]
        results = ls.map(abs, range(-1000, 0))
        next(results)
        class Holder:
            def __init__(self):
                self.executor = ls.ProcessPoolExecutor(1)
                self.executor.submit(pow, 2, 2)
            def __del__(self):
                self.executor.shutdown()
        holder = Holder()
        holder.itself = holder
        print("ok")
        """)
        == "ok\n"
    )


@pytest.mark.parametrize("how", ["sys.exit(3)", "raise SystemExit(3)"])
def test_leaving_inside_a_with_block(programs, how):
    programs.write(
        {
            "script.py": f"""
            import pathlib, sys, time
            import lineshaft as ls
            def work(number):
                time.sleep(0.01)
                pathlib.Path(f"trace-{{number}}").touch()
            with ls.ProcessPoolExecutor(2) as executor:
                for number in range(6):
                    executor.submit(work, number)
                {how}
            """
        }
    )
    assert programs.run("script.py", returncode=3) == ("", "")
    assert len(list(programs.folder.glob("trace-*"))) == 6


def test_an_exception_inside_a_with_block(programs):
    programs.write(
        {
            "script.py": """
            import lineshaft as ls
            with ls.Engine(workers=1) as engine, ls.ProcessPoolExecutor(1) as executor:
                futures = [engine.submit(pow, 2, 2), executor.submit(pow, 2, 2)]
                raise LookupError("inside")
            """
        }
    )
    out, err = programs.run("script.py", returncode=1)
    assert out == ""
    assert err.splitlines()[-1] == "LookupError: inside"
    assert err.count("Traceback") == 1


def test_calls_of_a_pool_do_not_keep_those_of_an_executor_from_their_end(script):
    out = script("""
        import threading, time
        import lineshaft as ls
        begun = threading.Event()
        pool = ls.ThreadPool(1)
        pool.apply_async(lambda: (begun.set(), time.sleep(3600)))
        begun.wait()
        ls.ProcessPoolExecutor(1).submit(lambda: (time.sleep(0.1), print("executor")))
        ls.submit(lambda: (time.sleep(0.1), print("engine"))).add_done_callback(lambda _: print("callback"))
    """)
    assert sorted(out.split()) == ["callback", "engine", "executor"]


def test_an_executor_that_was_given_no_call_is_not_waited_for(script):
    out = script("""
        import lineshaft as ls
        pool, unused = ls.Pool(1), ls.ProcessPoolExecutor(1)
        print(pool.apply(abs, (-1,)))
    """)
    assert out == "1\n"


@pytest.mark.parametrize("kind", ["Pool", "ThreadPool"])
def test_a_pool_made_in_an_exit_handler(script, kind):
    assert (
        script(f"""
        import atexit
        @atexit.register
        def last():
            with ls.{kind}(2) as pool:
                print(pool.map(abs, [-1, -2]))
        import lineshaft as ls
        ls.Pool(1).apply(abs, (-1,))
        """)
        == "[1, 2]\n"
    )


def test_submitting_from_an_exit_handler(programs):
    programs.write(
        {
            "script.py": """
            import atexit
            @atexit.register
            def last():
                for submit in (executor.submit, threads.submit):
                    try:
                        submit(pow, 2, 2)
                    except RuntimeError as error:
                        print("refused:", error)
            import lineshaft as ls
            executor, threads = ls.ProcessPoolExecutor(1), ls.ThreadPoolExecutor(1)
            executor.submit(pow, 2, 2).result()
            """
        }
    )
    out, err = programs.run("script.py")
    assert [line.split(":")[1].strip()[:28] for line in out.splitlines()] == [
        "cannot schedule new futures "[:28]
    ] * 2, out
    assert err == ""


def test_a_thread_that_goes_on_after_its_time_limit(script):
    assert (
        script("""
        import time
        import lineshaft as ls
        def spin():
            while True:
                time.sleep(0.0001)
        for _ in range(3):
            try:
                ls.task(spin, timeout=0.05, threads=4).submit().result()
            except TimeoutError:
                print("timed out")
        """)
        == "timed out\n" * 3
    )


def test_a_coroutine_that_never_ends(script):
    assert (
        script("""
        import asyncio
        import lineshaft as ls
        async def wait():
            await asyncio.sleep(3600)
        try:
            ls.task(wait, timeout=0.05).submit().result()
        except TimeoutError:
            print("timed out")
        """)
        == "timed out\n"
    )


def test_no_process_is_left(programs):
    programs.write(
        {
            "script.py": """
            import os
            import lineshaft as ls
            print(*set(ls.map(lambda _: os.getpid(), range(50))), *set(ls.Pool(2).map(abs, [])))
            """
        }
    )
    out, _ = programs.run("script.py")
    assert out.split()
    assert not [pid for pid in map(int, out.split()) if psutil.pid_exists(pid)]


def test_os_exit(programs):
    programs.write(
        {
            "script.py": """
            import os, time
            import lineshaft as ls
            ls.submit(time.sleep, 3600)
            print(ls.submit(os.getpid).result(), flush=True)
            os._exit(5)
            """
        }
    )
    out, err = programs.run("script.py", returncode=5)
    assert err == ""
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in map(int, out.split()) if psutil.pid_exists(pid)], 10)
    assert not alive


def test_the_status_after_ctrl_c_while_a_generator_is_open(programs):
    """CPython forgets it when anything evaluates source, as modules do that are imported late."""
    programs.write(
        {
            "script.py": """
            import signal, time
            import lineshaft.joblib
            from joblib import Parallel, delayed
            calls = (delayed(time.sleep)(0.02) for number in range(50))
            results = Parallel(n_jobs=2, backend="lineshaft", return_as="generator_unordered")(calls)
            assert next(results) is None
            signal.raise_signal(signal.SIGINT)
            """
        }
    )
    programs.run("script.py", returncode=-signal.SIGINT)


def test_ctrl_c(programs):
    programs.write(
        {
            "script.py": """
            import time
            import lineshaft as ls
            with ls.ProcessPoolExecutor(2) as executor:
                futures = [executor.submit(time.sleep, 3600) for _ in range(10)]
                print("up", flush=True)
                futures[0].result()
            """
        }
    )
    process = programs.start("script.py")
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (-signal.SIGINT, "")
    assert err.splitlines()[-1] == "KeyboardInterrupt"


@pytest.mark.parametrize("kind", ["ProcessPoolExecutor", "ThreadPoolExecutor"])
def test_calls_submitted_after_a_statement_was_interrupted(programs, kind):
    """In an interactive session Ctrl-C ends a statement, not the program."""
    statements = f"""
        import pathlib, time
        import lineshaft as ls
        def work(number): time.sleep(0.05); pathlib.Path(f"trace-{{number}}").touch()

        raise KeyboardInterrupt
        executor = ls.{kind}(1)
        futures = [executor.submit(work, number) for number in range(5)]
        exit()
    """
    _, err = programs.run("-i", "-q", text=textwrap.dedent(statements))
    assert "KeyboardInterrupt" in err
    assert len(list(programs.folder.glob("trace-*"))) == 5


def test_an_engine_that_does_not_end_leaves_the_others_to_end(programs):
    script = """
        import lineshaft as ls
        engines = [ls.Engine(workers=1) for _ in range(3)]
        for engine in engines:
            engine.submit(abs, -1).result()
            def end(*, in_hurry, engine=engine, native=engine._native):
                ls.Engine._end(engine, in_hurry=in_hurry)
                print("ended", native.closed, flush=True)
                raise OSError("no space left")
            engine._end = end
    """
    programs.write({"script.py": script})
    out, err = programs.run("script.py")
    assert out.splitlines() == ["ended True"] * 3
    assert err.count("OSError: no space left") == 3


def test_a_closed_output(programs):
    """The reader of our output went away: the program ends as it would without us."""
    programs.write(
        {
            "script.py": """
            import lineshaft as ls
            for number in range(50):
                ls.submit(print, "x" * 1000).result()
            """
        }
    )
    process = programs.start("script.py")
    process.stdout.close()
    process.stdin.close()
    assert process.wait(timeout=30) in (0, 120, -signal.SIGPIPE), os.strerror(process.returncode)
    process.stderr.close()
