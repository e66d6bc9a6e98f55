"""Workers run hooks when they end; those of executors and pools take as long as in `multiprocessing`."""

import atexit
import os
import signal
import threading

import psutil
import pytest
from tests.events import PATIENCE_S, FileEvent, eventually

import lineshaft as ls

#: Longer than a worker has that nobody waits for: it would be killed after two seconds.
LONG = "LONG_S = 3.0"

LINGERING = """
    import os, pathlib, threading

    def linger():
        '''Have this worker take for ever to end; it tells when it begins to.'''
        from multiprocessing import util
        threading.Thread(target=threading.Event().wait).start()
        util.Finalize(None, pathlib.Path("leaving").touch, exitpriority=1)
        pathlib.Path("worker").write_text(str(os.getpid()))
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_what_a_worker_has_left_is_done_when_its_pool_has_ended(script, method):
    out = script(f"""
        import atexit, multiprocessing, pathlib, threading, time
        import lineshaft as ls
        {LONG}

        def begin(to_program):
            global queue
            queue = to_program

        def leave(name):
            def work():
                time.sleep(LONG_S)
                pathlib.Path(name + "-thread").touch()
            def hook():
                pathlib.Path(name + "-hook").touch()
            threading.Thread(target=work).start()
            atexit.register(hook)
            for _ in range(20):
                queue.put(bytes(100_000))  # a pipe has room for less than one

        if __name__ == "__main__":
            context = multiprocessing.get_context({method!r})
            queues = context.Queue(), context.Queue()
            executor = ls.ProcessPoolExecutor(1, context, begin, (queues[0],))
            pool = ls.Pool(1, begin, (queues[1],), context=context)
            executor.submit(leave, "executor").result()
            pool.apply(leave, ("pool",))
            executor.shutdown(wait=False)
            pool.close()
            taken = []
            def take():
                time.sleep(LONG_S)  # until now nothing is taken
                for queue in queues:
                    taken.append(sum(len(queue.get()) for _ in range(20)))
            reader = threading.Thread(target=take)
            reader.start()
            executor.shutdown()
            pool.join()
            print(sorted(path.name for path in pathlib.Path().glob("*-*")))
            reader.join()
            print(taken)
    """)
    hooks = ["executor-hook", "pool-hook"] if method == "spawn" else []
    assert out == f"{sorted(['executor-thread', 'pool-thread', *hooks])}\n[2000000, 2000000]\n"


LEAVE_A_FOLDER = """
    import atexit, os, pathlib, shutil

    def leave_a_folder():
        folder = pathlib.Path(f"left-{os.getpid()}")
        folder.mkdir()
        atexit.register(shutil.rmtree, folder)
        return folder.exists()
"""


@pytest.mark.parametrize(
    ("call", "end"),
    [
        ("ls.submit(leave_a_folder).result()", "ls.default_engine().shutdown()"),
        ("ls.submit(leave_a_folder).result()", "ls.default_engine().shutdown(wait=False)"),
        ("engine.submit(leave_a_folder).result()", "engine.shutdown()"),
        ("Parallel(2, 'lineshaft')(delayed(leave_a_folder)() for _ in range(1))[0]", ""),
        ("dask.delayed(leave_a_folder)().compute(scheduler=lineshaft.dask.get_processes)", ""),
    ],
)
def test_hooks_are_run_when_the_workers_of_an_engine_end(programs, call, end):
    programs.write({"leave.py": LEAVE_A_FOLDER})
    out = programs.script(f"""
        import atexit, dask, pathlib, sys
        # After the engines have ended.
        atexit.register(lambda: print(list(pathlib.Path().glob("left-*"))))
        import lineshaft as ls, lineshaft.dask, lineshaft.joblib
        from joblib import Parallel, delayed
        from leave import leave_a_folder

        engine = ls.Engine(workers=2)
        print({call})
        {end}
    """)
    assert out == "True\n[]\n"


def leave_a_folder(at):
    folder = at / str(os.getpid())
    folder.mkdir()
    atexit.register(folder.rmdir)
    return folder


def test_hooks_are_run_when_a_worker_is_replaced(tmp_path):
    with ls.Engine(workers=1, max_tasks_per_worker=1) as engine:
        folders = [engine.submit(leave_a_folder, tmp_path).result() for _ in range(3)]
        assert len(set(folders)) == 3
        eventually(lambda: not list(tmp_path.iterdir()), "none is left")


def leave_a_folder_and_a_call(at):
    folder = leave_a_folder(at)
    ls.ThreadPoolExecutor(1).submit(threading.Event().wait)
    return folder


def test_hooks_do_not_wait_for_threads_of_a_worker(tmp_path):
    with ls.Engine(workers=1) as engine:
        assert engine.submit(leave_a_folder_and_a_call, tmp_path).result().exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["shutdown(wait=False)", "_shutdown", "__del__()"], ids=["left", "open", "dropped"])
def test_a_program_ends_after_the_workers_of_its_executors(script, how):
    out = script(f"""
        import atexit, multiprocessing, pathlib, threading, time
        import lineshaft as ls
        {LONG}

        def leave():
            def work():
                time.sleep(LONG_S)
                pathlib.Path("thread").touch()
            threading.Thread(target=work).start()

        atexit.register(lambda: print(pathlib.Path("thread").exists()))
        executor = ls.ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
        executor.submit(leave).result()
        executor.{how}
    """)
    assert out == "True\n"


def test_a_program_does_not_wait_for_the_workers_of_its_pools(programs):
    programs.write({"lingering.py": LINGERING})
    out = programs.script("""
        import multiprocessing, os, threading
        import lineshaft as ls
        from lingering import linger
        for end in (lambda pool: None, ls.Pool.close):
            pool = ls.Pool(1, context=multiprocessing.get_context("fork"))
            pool.apply(linger)
            end(pool)
        print("ok")
    """)
    assert out == "ok\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_terminating_a_pool_that_takes_for_ever_to_end(programs, method):
    programs.write({"lingering.py": LINGERING})
    out = programs.script(f"""
        import multiprocessing, os, threading
        import lineshaft as ls
        from lingering import linger
        if __name__ == "__main__":
            pool = ls.Pool(1, context=multiprocessing.get_context({method!r}))
            pool.apply(linger)
            pool.close()
            joining = threading.Thread(target=pool.join)
            joining.start()
            while not os.path.exists("leaving"):
                pass
            pool.terminate()
            pool.join()
            joining.join()
            print("ended")
    """)
    assert out == "ended\n"


WAITS = {
    "shutdown": "executor.shutdown()",
    "with": "executor.__exit__(None, None, None)",
    "exit": "executor.shutdown(wait=False)",
}


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
@pytest.mark.parametrize("waits", WAITS)
def test_ending_a_program_whose_worker_takes_for_ever_to_end(programs, waits, signal_number):
    script = f"""
        import multiprocessing
        import lineshaft as ls
        from lingering import linger
        executor = ls.ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
        executor.submit(linger).result()
        {WAITS[waits]}
    """
    programs.write({"lingering.py": LINGERING, "script.py": script})
    program = programs.start("script.py")
    FileEvent(programs.folder / "leaving").wait()
    program.send_signal(signal_number)
    try:
        program.communicate(timeout=PATIENCE_S / 2)
    finally:
        program.kill()
    worker = int((programs.folder / "worker").read_text())
    eventually(lambda: not psutil.pid_exists(worker), "the worker has ended")


def test_waiting_again_after_ctrl_c(script):
    """It ends a wait, not the worker: that has the time that it needs, here until the program says so."""
    out = script("""
        import multiprocessing, os, signal, threading
        import lineshaft as ls

        def leave():
            from multiprocessing import util
            threading.Thread(target=go_on.wait).start()
            util.Finalize(None, leaving.set, exitpriority=1)

        context = multiprocessing.get_context("fork")
        leaving, go_on = context.Event(), context.Event()
        executor = ls.ProcessPoolExecutor(1, context)
        executor.submit(leave).result()
        def interrupt():
            leaving.wait()
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=interrupt).start()
        try:
            executor.shutdown()
        except KeyboardInterrupt:
            print("interrupted", len(executor._processes))
        go_on.set()
        executor.shutdown()
        print("ended", len(executor._processes))
    """)
    assert out == "interrupted 1\nended 0\n"
