"""A Jupyter kernel: functions of cells, defined anew in later ones; output in the cell; interrupts."""

import os
from collections.abc import Callable

import nbclient
import nbformat
import pytest

CELLS = [
    """
    import os
    import lineshaft as ls
    factor = 2
    def scaled(x):
        return factor * x
    class Point:
        def __init__(self, x):
            self.x = x
        def __eq__(self, other):
            return type(other) is type(self) and other.x == self.x
    print(ls.submit(scaled, 3).result(), ls.submit(os.getpid).result() != os.getpid())
    """,
    """
    def scaled(x):
        return factor * x + 1
    print(ls.submit(scaled, 3).result(), list(ls.map(scaled, range(3))))
    """,
    """
    factor = 10
    print(ls.submit(scaled, 3).result())
    """,
    """
    class Point(Point):
        def moved(self):
            return Point(self.x + 1)
    print(ls.submit(Point(1).moved).result() == Point(2))
    """,
    """
    with ls.ProcessPoolExecutor(2) as executor:
        print(list(executor.map(scaled, range(3))))
    with ls.ThreadPoolExecutor(2) as executor:
        print(list(executor.map(lambda x: x + factor, range(3))))
    with ls.Pool(2) as pool:
        print(pool.map(scaled, range(3)))
    """,
    """
    print(await ls.submit(scaled, 4))
    async def later(x):
        return factor + x
    print(list(ls.map(later, range(3))))
    """,
    """
    def fail():
        raise ValueError("in a cell")
    try:
        ls.submit(fail).result()
    except ValueError as error:
        print(error, "raise ValueError" in str(error.__cause__))
    """,
]
EXPECTED = [
    "6 True\n",
    "7 [1, 3, 5]\n",
    "31\n",
    "True\n",
    "[1, 11, 21]\n[10, 11, 12]\n[1, 11, 21]\n",
    "41\n[10, 11, 12]\n",
    "in a cell True\n",
]


@pytest.fixture
def run(programs, monkeypatch) -> Callable[[list[str]], list[str]]:
    """Run cells in a kernel; return what each printed."""
    import textwrap

    monkeypatch.setenv("PYTHONPATH", programs.environment["PYTHONPATH"])
    monkeypatch.setenv("IPYTHONDIR", str(programs.folder / "ipython"))
    monkeypatch.chdir(programs.folder)

    def run_cells(cells: list[str]) -> list[str]:
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(textwrap.dedent(cell)) for cell in cells]
        nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
        return ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]

    return run_cells


def test_cells(run):
    assert run(CELLS) == EXPECTED


def test_output_of_workers(run):
    cells = [
        "import lineshaft as ls",
        "with ls.Engine(workers=1) as engine:\n    engine.submit(print, 'from a worker').result()",
    ]
    assert "from a worker" in run(cells)[1]


def test_magics_and_history(run):
    cells = [
        "import lineshaft as ls\ndef f(x): return x + _offset\n_offset = 1\nls.submit(f, 1).result()",
        "%time print(ls.submit(f, 2).result())",
        "%%capture captured\nprint(ls.submit(f, 3).result())",
        "print(captured.stdout)",
        f"import os; os.chdir({os.sep!r}); print(ls.submit(f, 4).result())",
    ]
    shown = run(cells)
    assert shown[1].startswith("3\n")
    assert shown[3].startswith("4\n")
    assert shown[4] == "5\n"
