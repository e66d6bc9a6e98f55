"""Threads that no call runs on: they are the program's to notice."""


def test_threads_of_calls_that_ask_for_a_number_go_when_there_are_no_more(script):
    out = script("""
        import pathlib, time
        import lineshaft as ls
        def name_of(thread):
            try:
                return (thread / "comm").read_text()
            except OSError:  # it has ended meanwhile
                return ""
        def threads():
            names = map(name_of, pathlib.Path("/proc/self/task").iterdir())
            return sum(name.startswith("lineshaft-threa") for name in names)
        engine = ls.Engine(workers=1)
        for size in range(20, 24):
            assert list(engine.map(abs, range(-100, 0), threads=size)) == list(range(100, 0, -1))
        print(threads() > 0)
        until = time.monotonic() + 60
        while threads() and time.monotonic() < until:
            time.sleep(0.05)
        print(threads(), list(engine.map(abs, [-1], threads=20)))
    """)
    assert out == "True\n0 [1]\n"
