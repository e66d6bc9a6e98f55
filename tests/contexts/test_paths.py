"""Folders, paths and variables of the program, also when it changes them after the engine started."""

import os


def test_modules_found_by_a_later_path(programs):
    programs.write({"plugins/late.py": "def f(x): return x + 1"})
    assert (
        programs.script("""
        import os, sys
        import lineshaft as ls
        assert ls.submit(pow, 2, 2).result() == 4  # the workers are there
        sys.path.insert(0, os.path.abspath("plugins"))
        import late
        assert ls.submit(late.f, 1).result() == 2
        assert list(ls.map(late.f, range(3))) == [1, 2, 3]
        with ls.ProcessPoolExecutor(2) as executor:
            assert executor.submit(late.f, 1).result() == 2
        print("ok")
        """)
        == "ok\n"
    )


def test_modules_written_after_the_engine_started(script):
    assert (
        script("""
        import importlib, pathlib
        import lineshaft as ls
        assert ls.submit(pow, 2, 2).result() == 4
        pathlib.Path("fresh.py").write_text("def f(x): return x + 1")
        importlib.invalidate_caches()
        import fresh
        assert ls.submit(fresh.f, 1).result() == 2
        print("ok")
        """)
        == "ok\n"
    )


def test_the_working_folder(script):
    """Workers that start later start where the program is then, as forked ones do."""
    assert (
        script("""
        import os, pathlib
        import lineshaft as ls
        pathlib.Path("elsewhere").mkdir()
        start = os.getcwd()
        assert ls.submit(os.getcwd).result() == start
        os.chdir("elsewhere")
        with ls.ProcessPoolExecutor(1) as executor:
            assert executor.submit(os.getcwd).result() == os.path.join(start, "elsewhere")
        print("ok")
        """)
        == "ok\n"
    )


def test_relative_paths_of_modules(programs):
    """A relative entry of the path means the folder it was given in."""
    programs.write({"plugins/near.py": "def f(x): return x + 1"})
    assert (
        programs.script("""
        import os, sys
        sys.path.insert(0, "plugins")
        import near
        import lineshaft as ls
        assert ls.submit(near.f, 1).result() == 2
        print("ok")
        """)
        == "ok\n"
    )


def test_environment_variables(script):
    """Workers that start later have the variables of then, as forked ones do."""
    assert (
        script("""
        import os
        os.environ["BEFORE"] = "1"
        import lineshaft as ls
        assert ls.submit(os.environ.get, "BEFORE").result() == "1"
        def look(*names):
            return [os.environ.get(name) for name in names]
        assert ls.submit(look, "BEFORE").result() == ["1"]
        os.environ["AFTER"] = "2"
        del os.environ["BEFORE"]
        with ls.ProcessPoolExecutor(1) as executor:
            assert executor.submit(look, "BEFORE", "AFTER").result() == [None, "2"]
        print("ok")
        """)
        == "ok\n"
    )


def test_a_worker_changes_only_itself(script):
    assert (
        script("""
        import os
        import lineshaft as ls
        def change():
            os.chdir("/")
            os.environ["CHANGED"] = "1"
        here = os.getcwd()
        ls.submit(change).result()
        assert os.getcwd() == here and "CHANGED" not in os.environ
        print("ok")
        """)
        == "ok\n"
    )


def test_started_elsewhere(programs):
    programs.write(
        {
            "app/part.py": "def f(x): return x + 1",
            "app/script.py": "import lineshaft as ls, part\nprint(ls.submit(part.f, 1).result())",
        }
    )
    assert programs.run(os.path.join("app", "script.py")) == ("2\n", "")  # noqa: PTH118
    assert programs.run(str(programs.folder / "app" / "script.py"), cwd="/") == ("2\n", "")


def test_no_leftovers(programs):
    programs.script("import lineshaft as ls\nprint(ls.submit(lambda: 1).result())")
    assert sorted(path.name for path in programs.folder.iterdir()) == ["script.py"]


def test_public_modules_need_no_import_of_their_own(script):
    out = script("""
        import lineshaft as ls
        try:
            raise KeyError
        except ls.errors.WorkerDied:
            print("nothing died")
        except KeyError:
            print(ls.futures.Future is ls.Future, ls.pool.Pool is ls.Pool, hasattr(ls, "nothing"))
    """)
    assert out == "True True False\n"
