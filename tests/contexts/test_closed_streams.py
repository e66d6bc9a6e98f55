"""Programs without standard output and error, as daemons are: nothing else may be taken for them."""

import subprocess
import sys

import pytest

from .conftest import SECONDS_MAX


@pytest.mark.parametrize("closed", ["1", "2", "12", "012"])
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pools(programs, method, closed):
    programs.write(
        {
            "script.py": f"""
                import multiprocessing, sys
                import lineshaft as ls
                from pathlib import Path

                def shout(x):
                    print("not shown")
                    print("not shown either", file=sys.stderr)
                    return -x

                with ls.Pool(1, context=multiprocessing.get_context({method!r})) as pool:
                    results = pool.map(shout, [1, 2])
                Path("results").write_text(repr([*results, ls.submit(abs, -3).result()]))
            """
        }
    )
    closing = " ".join(f"{fd}>&-" for fd in closed)
    command = ["sh", "-c", f'exec "$0" script.py {closing}', sys.executable]
    subprocess.run(command, cwd=programs.folder, env=programs.environment, timeout=SECONDS_MAX, check=True)
    assert (programs.folder / "results").read_text() == "[-1, -2, 3]"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_streams_that_a_program_opens_anew_are_nobody_elses(programs, method):
    out, err = programs.run(
        "-c",
        f"""if True:
            import multiprocessing, os
            import lineshaft as ls

            def square(x):
                return x * x

            context = multiprocessing.get_context("{method}")
            results = []
            kept = [os.dup(number) for number in range(3)]
            for number in range(3):
                os.close(number)
            with ls.Pool(2, context=context) as pool:
                large = bytes(1 << 20)
                results.append(pool.map(len, [large, large]))
                for number in range(3):
                    os.dup2(kept[number], number)
                results.append(pool.map(square, [1, 2]))
                with ls.Pool(1, context=context) as other:
                    results.append(other.map(square, [3]))
            print(results)
        """,
    )
    assert (out, err) == ("[[1048576, 1048576], [1, 4], [9]]\n", "")
