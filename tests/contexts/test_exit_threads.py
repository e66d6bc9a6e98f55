"""How programs end that have other threads: of the user, daemons among them, and of calls."""

import pytest


def test_daemon_threads(script):
    """They may submit and wait until the very end."""
    assert (
        script("""
        import threading
        from concurrent.futures import CancelledError
        import lineshaft as ls
        # Its first use would import a module of concurrent.futures, which fails once the main thread has ended: with
        # RuntimeError in one thread, and in others that come meanwhile with the ImportError of a half-made module.
        from lineshaft import ThreadPoolExecutor
        begun = threading.Barrier(5)
        def use():
            begun.wait()
            while True:
                try:
                    ls.submit(pow, 2, 2).result()
                    with ThreadPoolExecutor(1) as executor:
                        executor.submit(pow, 2, 2).result()
                except (RuntimeError, CancelledError):
                    return  # refused, or accepted in the last moment
        for _ in range(4):
            threading.Thread(target=use, daemon=True).start()
        begun.wait()
        for _ in range(20):
            ls.submit(pow, 2, 2).result()
        print("ok")
        """)
        == "ok\n"
    )


@pytest.mark.parametrize("does", ["submits", "reads", "is called back"])
def test_daemon_threads_that_run_python_under_native_code(script, does):
    out = script(f"""
        import threading, time
        import lineshaft as ls

        def spin():
            until = time.monotonic() + 0.3
            while time.monotonic() < until:
                pass

        class Slow:
            def __reduce__(self):
                spin()
                return int, ()

        class SlowToLoad:
            def __reduce__(self):
                return spin, ()

        def use():
            while True:
                if {does!r} == "submits":
                    ls.submit(type, Slow())
                elif {does!r} == "reads":
                    ls.ProcessPoolExecutor(1).submit(SlowToLoad).result()
                else:
                    future.add_done_callback(lambda future: spin())

        future = ls.submit(abs, -1)
        assert future.result() == 1
        thread = threading.Thread(target=use, daemon=True)
        thread.start()
        thread.join(0.5)
        threading.excepthook = lambda error: None  # it may be told that the engine is shut down
        print("end")
    """)
    assert out == "end\n"


def test_threads_that_outlive_the_main_thread(script):
    """As in concurrent.futures: once the interpreter ends, nothing new is taken, but what is there is finished."""
    out = script("""
        import threading
        import lineshaft as ls
        executor = ls.ThreadPoolExecutor(1)
        def late(future):
            threading.main_thread().join()
            print(future.result())
        threading.Thread(target=late, args=(executor.submit(pow, 2, 2),)).start()
    """)
    assert out == "4\n"


def test_threads_that_a_call_starts_are_waited_for(script):
    out = script("""
        import threading, time
        import lineshaft as ls
        def write():
            time.sleep(0.3)
            print("written")
        with ls.ThreadPoolExecutor(1) as executor:
            executor.submit(lambda: threading.Thread(target=write).start()).result()
    """)
    assert out == "written\n"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["Pool", "ThreadPool"])
def test_pools_serve_threads_that_outlive_the_main_thread(script, kind, when):
    """As in multiprocessing, whether the pool was made before the main thread's end or after it."""
    out = script(f"""
        import threading
        def late(pool=None):
            threading.main_thread().join()
            import lineshaft as ls
            pool = pool or ls.{kind}(2)
            print(pool.map(abs, [-1, -2]))
            with ls.{kind}(1) as other:
                print(other.apply(abs, (-3,)))
        if {when == "before"}:
            import lineshaft as ls
            threading.Thread(target=late, args=(ls.{kind}(2),)).start()
        else:
            threading.Thread(target=late).start()
    """)
    assert out == "[1, 2]\n3\n"


def test_submitting_from_an_exit_handler_on_a_thread_that_python_did_not_start(script):
    assert (
        script("""
        import atexit, _thread, queue
        import lineshaft as ls
        ls.submit(pow, 2, 2).result()
        answers = queue.SimpleQueue()
        def submit():
            try:
                answers.put(ls.submit(pow, 2, 2).result())
            except RuntimeError as error:
                answers.put(str(error))
        @atexit.register
        def last():
            _thread.start_new_thread(submit, ())
            print(answers.get())
        """)
        == "cannot schedule new futures after interpreter shutdown\n"
    )
