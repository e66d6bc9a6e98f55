"""A program's first calls come while another of its threads imports a module of the standard library."""

import pytest


@pytest.mark.parametrize("module", ["logging", "multiprocessing.context", "multiprocessing.reduction"])
def test_a_call_waits_for_the_import(module, script):
    out = script(f"""
    import sys, threading
    from importlib.machinery import PathFinder
    import lineshaft as ls

    is_half_imported, has_returned = threading.Event(), threading.Event()

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name != "{module}":
                return None
            spec = PathFinder.find_spec(name, path)
            load = spec.loader.exec_module

            def load_slowly(module):
                is_half_imported.set()
                # A call that does not wait for the import has all the time that it needs to fail.
                has_returned.wait(0.3)
                load(module)

            spec.loader.exec_module = load_slowly
            return spec

    def square(number):
        return number * number

    def call():
        try:
            return ls.submit(square, 3).result()
        finally:
            has_returned.set()

    assert "{module}" not in sys.modules
    sys.meta_path.insert(0, Finder)
    importer = threading.Thread(target=__import__, args=("{module}",))
    importer.start()
    is_half_imported.wait()
    print(call())
    importer.join()
    """)
    assert out == "9\n"
