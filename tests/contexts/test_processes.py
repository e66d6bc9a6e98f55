"""Workers are processes of the program's, in the words of `multiprocessing`, and not the program itself."""

import pytest

WHO = """
    import os

    def who():
        import multiprocessing
        parent, me = multiprocessing.parent_process(), multiprocessing.current_process()
        return me.name, me.daemon, parent and (parent.pid, parent.is_alive())
"""


@pytest.mark.parametrize("is_imported", [True, False], ids=["imported", "not-imported"])
def test_who_a_worker_is(script, is_imported):
    out = script(f"""
        import lineshaft as ls
        {"import multiprocessing" if is_imported else ""}
        {WHO.replace(chr(10), chr(10) + "    ")}
        def check():
            name, daemon, parent = who()
            assert name == f"lineshaft-worker-{{os.getpid()}}", name
            return daemon, parent

        print(ls.submit(check).result() == (False, (os.getpid(), True)))
    """)
    assert out == "True\n"


def test_its_children_know_it(script):
    out = script("""
        import multiprocessing, os
        import lineshaft as ls

        def tell(connection):
            connection.send(multiprocessing.parent_process().pid)

        def ask():
            ours, theirs = multiprocessing.Pipe()
            child = multiprocessing.get_context("fork").Process(target=tell, args=(theirs,))
            child.start()
            parent = ours.recv()
            child.join()
            return parent == os.getpid()

        print(ls.submit(ask).result())
    """)
    assert out == "True\n"
