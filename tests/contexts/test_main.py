"""Functions, classes and lambdas of ``__main__``, however that came about; no guard is needed."""

import ast
import os
import textwrap
import zipfile

import pytest

PROGRAM = """
    import dataclasses
    import enum
    import os
    import lineshaft as ls

    here = os.getpid()
    factor = 3

    class Color(enum.Enum):
        RED = 1

    @dataclasses.dataclass
    class Point:
        x: int
        y: int = 0

        def moved(self, dx):
            return Point(self.x + dx, self.y)

    class Base:
        def name(self):
            return "base"

    class Derived(Base):
        def name(self):
            return "derived of " + super().name()

    class OurError(Exception):
        pass

    def scaled(x):
        return helper(x) * factor

    def helper(x):
        return x + 1

    def fail(x):
        raise OurError(x)

    def make_adder(n):
        def add(x):
            return x + n
        return add

    assert ls.submit(os.getpid).result() != here
    assert ls.submit(scaled, 1).result() == 6
    assert list(ls.map(lambda x: x * factor, range(3))) == [0, 3, 6]
    assert ls.submit(make_adder(5), 1).result() == 6
    moved = ls.submit(Point(1).moved, 2).result()
    assert moved == Point(3) and type(moved) is Point
    assert ls.submit(lambda: Color.RED).result() is Color.RED
    assert ls.submit(Derived().name).result() == "derived of base"
    assert isinstance(ls.submit(Derived).result(), Base)
    error = ls.submit(fail, 7).exception()
    assert type(error) is OurError and error.args == (7,)
    with ls.ProcessPoolExecutor(2) as executor:
        assert list(executor.map(scaled, range(3))) == [3, 6, 9]
    with ls.Pool(2) as pool:
        assert pool.map(scaled, range(3)) == [3, 6, 9]

    def keep(function):
        global kept
        kept = function

    def in_a_pool():
        with ls.Pool(1, keep, (scaled,)) as pool:
            return pool.apply(lambda: kept(1))

    assert ls.submit(in_a_pool).result() == 6
    with ls.ThreadPoolExecutor(2) as executor:
        assert list(executor.map(scaled, range(3))) == [3, 6, 9]

    factor = 10
    assert ls.submit(scaled, 1).result() == 20

    def helper(x):
        return x + 2

    assert ls.submit(scaled, 1).result() == 30
    print("ok", __name__)
"""


def as_typed(text: str) -> str:
    """Return the program as it is typed at a prompt: compound statements end at an empty line."""
    text = textwrap.dedent(text)
    lines, typed = text.splitlines(), []
    for node in ast.parse(text).body:
        first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
        typed += [line for line in lines[first - 1 : node.end_lineno] if line.strip()]
        typed.append("")
    return "\n".join(typed) + "\n"


def test_a_script_without_a_guard(script):
    assert script(PROGRAM) == "ok __main__\n"


def test_a_command(programs):
    assert programs.run("-c", textwrap.dedent(PROGRAM)) == ("ok __main__\n", "")


def test_standard_input(programs):
    assert programs.run("-", text=textwrap.dedent(PROGRAM)) == ("ok __main__\n", "")


def test_the_prompt(programs):
    out, err = programs.run("-i", "-q", text=as_typed(PROGRAM))
    assert out == "ok __main__\n", out + err
    assert "Error" not in err.replace("OurError", "")


def test_a_module_of_a_package(programs):
    programs.write(
        {
            "pkg/__init__.py": "",
            "pkg/other.py": "def triple(x): return 3 * x\nclass Box:\n    pass",
            "pkg/program.py": PROGRAM
            + """
    from .other import triple, Box
    assert ls.submit(triple, 2).result() == 6
    assert ls.submit(lambda: __import__("importlib").import_module(".other", __package__).triple(2)).result() == 6
    assert type(ls.submit(Box).result()) is Box
    print(__package__)
    """,
        }
    )
    assert programs.run("-m", "pkg.program") == ("ok __main__\npkg\n", "")


def test_a_package_with_a_main(programs):
    programs.write(
        {
            "app/__init__.py": "",
            "app/__main__.py": PROGRAM,
            "app/part.py": "def f(x): return x + 1",
        }
    )
    assert programs.run("-m", "app") == ("ok __main__\n", "")


def test_a_folder_with_a_main(programs):
    programs.write(
        {
            "folder/__main__.py": PROGRAM + "\n    import part\n    assert ls.submit(part.f, 1).result() == 2\n",
            "folder/part.py": "def f(x): return x + 1",
        }
    )
    assert programs.run("folder") == ("ok __main__\n", "")


def test_a_zip(programs):
    with zipfile.ZipFile(programs.folder / "app.zip", "w") as archive:
        text = PROGRAM + "\n    import part\n    assert ls.submit(part.f, 1).result() == 2\n"
        archive.writestr("__main__.py", textwrap.dedent(text))
        archive.writestr("part.py", "def f(x): return x + 1")
    assert programs.run("app.zip") == ("ok __main__\n", "")


@pytest.mark.parametrize(
    "flags", [["-O"], ["-I"], ["-S"], ["-W", "error"], ["-X", "dev"], ["-X", "utf8"], ["-B"]], ids=" ".join
)
def test_options_of_the_interpreter(programs, flags):
    path = programs.environment["PYTHONPATH"].split(os.pathsep)
    site = [entry for entry in __import__("sys").path if entry.endswith("site-packages")]
    text = f"import sys; sys.path[:0] = {[*path, *site]!r}\n" + textwrap.dedent(PROGRAM)
    programs.write(
        {
            "script.py": text,
        }
    )
    out, err = programs.run(*flags, "script.py")
    assert out == "ok __main__\n", err
    assert "Warning" not in err


def test_flags_reach_the_workers(programs):
    text = "import sys, lineshaft as ls; print(ls.submit(lambda: (sys.flags.optimize, sys.flags.utf8_mode)).result())"
    assert programs.run("-OO", "-X", "utf8", "-c", text) == ("(2, 1)\n", "")


def test_what_a_worker_sees_of_main(programs):
    text = """
        import sys, lineshaft as ls
        def look():
            main = sys.modules["__main__"]
            return main.__name__, getattr(main, "__file__", None), sys.argv, __name__, __file__
        there, here = ls.submit(look).result(), look()
        assert there[2:4] == here[2:4], (there, here)
        assert there[1].endswith("script.py") and there[4].endswith("script.py"), there
        print("ok")
    """
    programs.write(
        {
            "script.py": text,
        }
    )
    assert programs.run("script.py", "an", "argument") == ("ok\n", "")


def test_the_script_runs_once(programs):
    programs.write(
        {
            "script.py": """
        import lineshaft as ls
        with open("runs", "a") as file:
            file.write("x")
        print(sum(ls.map(abs, range(-100, 0))), ls.submit(lambda: 1).result())
        """,
        }
    )
    assert programs.run("script.py") == ("5050 1\n", "")
    assert (programs.folder / "runs").read_text() == "x"


def test_a_guard_does_no_harm(script):
    assert (
        script("""
        import lineshaft as ls
        def f(x): return x + 1
        if __name__ == "__main__":
            with ls.ProcessPoolExecutor(2) as executor:
                print(list(executor.map(f, range(3))))
        """)
        == "[1, 2, 3]\n"
    )


def test_functions_made_by_exec(script):
    assert (
        script("""
        import lineshaft as ls
        space = {}
        exec("def f(x): return g(x) + 1\\ndef g(x): return 10 * x", space)
        print(ls.submit(space["f"], 2).result(), ls.submit(eval("lambda x: x - 1"), 2).result())
        """)
        == "21 1\n"
    )


def test_state_of_the_main_module_stays_in_the_worker(script):
    """The usual pattern: an initializer sets a global that calls use."""
    assert (
        script("""
        import lineshaft as ls
        connection = None
        def connect(name):
            global connection
            connection = [name]
        def use(x):
            connection.append(x)
            return len(connection)
        with ls.ProcessPoolExecutor(1, initializer=connect, initargs=("db",)) as executor:
            print(list(executor.map(use, range(3))), connection)
        """)
        == "[2, 3, 4] None\n"
    )
