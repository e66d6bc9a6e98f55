"""Under pytest-xdist: each of its processes has an engine of its own."""

import pytest

pytest.importorskip("xdist")


def test_two_processes(programs):
    programs.write(
        {
            "conftest.py": """
            import pytest
            import lineshaft as ls

            @pytest.fixture(scope="session")
            def executor():
                with ls.ProcessPoolExecutor(2) as made:
                    yield made
            """,
            "test_it.py": """
            import os
            import pytest
            import lineshaft as ls

            def double(x):
                return 2 * x

            @pytest.mark.parametrize("n", range(12))
            def test_submit(n, executor):
                assert executor.submit(double, n).result() == 2 * n
                assert ls.submit(double, n).result() == 2 * n
                assert list(ls.map(double, range(n))) == [double(x) for x in range(n)]
                assert ls.submit(os.getpid).result() != os.getpid()

            def test_output(capfd):
                ls.submit(print, "from a worker").result()
            """,
        }
    )
    out, _ = programs.run("-m", "pytest", "-n", "2", "-q", "-p", "no:cacheprovider")
    assert "13 passed" in out


def test_a_test_that_fails_is_told_with_the_workers_traceback(programs):
    programs.write(
        {
            "test_it.py": """
            import lineshaft as ls

            def fail():
                raise ValueError("inside the worker")

            def test_it():
                ls.submit(fail).result()
            """
        }
    )
    out, _ = programs.run("-m", "pytest", "-n", "1", "-q", "-p", "no:cacheprovider", returncode=1)
    assert "ValueError: inside the worker" in out
    assert 'raise ValueError("inside the worker")' in out
