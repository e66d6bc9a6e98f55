"""After `os.fork` in a program whose other threads do something: import, call back, or call."""


def test_a_fork_from_a_thread(forking):
    assert (
        forking("""
        import threading
        ls.submit(pow, 2, 2).result()
        def child():
            assert ls.submit(pow, 2, 2).result() == 4
        failed = []
        def run():
            try:
                in_child(child)
            except BaseException as error:
                failed.append(error)
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads: thread.start()
        for n in range(200): assert ls.submit(pow, 2, 2).result() == 4
        for thread in threads: thread.join(60)
        assert not failed, failed
        print("ok")
        """)
        == "ok\n"
    )


def test_while_another_thread_imports_what_submitting_needs(forking):
    """No import is left half done in the child, where nobody would ever finish it."""
    assert (
        forking("""
        import threading, time
        assert ls.submit(pow, 2, 2).result() == 4
        importing, about_to_fork = threading.Event(), threading.Event()
        class Finder:
            def find_spec(self, name, path=None, target=None):
                if name == "lineshaft._serial.pickler":
                    importing.set()
                    about_to_fork.wait()
                    time.sleep(0.5)  # the import takes longer than a fork
        sys.meta_path.insert(0, Finder())
        os.register_at_fork(before=about_to_fork.set)
        futures = []
        thread = threading.Thread(target=lambda: futures.append(ls.submit(lambda: 7)))
        thread.start()
        importing.wait()
        def child():
            assert ls.submit(lambda: 8).result() == 8
        in_child(child)
        thread.join()
        assert futures[0].result() == 7
        print("ok")
        """)
        == "ok\n"
    )


def test_while_no_other_thread_runs_nothing_is_imported(script):
    """A program that runs functions by name starts without what the others take."""
    assert (
        script("""
        import sys
        import lineshaft as ls
        with ls.ProcessPoolExecutor(1) as executor:
            assert executor.submit(abs, -1).result() == 1
            assert "cloudpickle" not in sys.modules
            assert executor.submit(lambda: 8).result() == 8
        print("ok")
        """)
        == "ok\n"
    )


def test_a_child_of_a_call_on_a_thread_is_not_the_engines(forking):
    assert (
        forking("""
        import threading
        from lineshaft import _native
        def call():
            assert _native.is_own_thread()
            def child():
                assert not _native.is_own_thread()
                assert ls.submit(pow, 2, 2).result() == 4
            in_child(child)
            return "ok"
        with ls.ThreadPoolExecutor(1) as executor:
            print(executor.submit(call).result())
        """)
        == "ok\n"
    )


def test_results_that_were_there_while_a_callback_ran(forking):
    assert (
        forking("""
        import threading
        entered, leave = threading.Event(), threading.Event()
        with ls.ProcessPoolExecutor(1) as executor:
            executor.submit(abs, -1).add_done_callback(lambda _: (entered.set(), leave.wait()))
            entered.wait()
            future = executor.submit(abs, -2)
            while not future.done():
                pass
            def child():
                assert future.result() == 2
            in_child(child)
            leave.set()
            print("ok")
        """)
        == "ok\n"
    )
