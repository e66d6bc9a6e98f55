"""`lineshaft top`: the same numbers as the pages', in a terminal."""

import http.server
import os
import pty
import re
import subprocess
import sys
import threading

import pytest

import lineshaft as ls
from lineshaft.cli.top import STATES, screen

TOP = [sys.executable, "-m", "lineshaft", "top"]


def run(*arguments):
    return subprocess.run([*TOP, *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_one_look_at_a_live_engine():
    with ls.Engine(workers=2) as engine:
        for number in range(20):
            engine.submit(abs, -number).result()
        done = run("--once", engine.dashboard_url)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^tasks +20 of 20 ended", done.stdout, re.MULTILINE)
    assert re.search(r"^abs +20/20 ", done.stdout, re.MULTILINE)
    assert re.search(r"^\d+ \(process \d+\) ", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout


def test_lines_are_cut_to_the_terminal_and_a_host_without_a_scheme_is_one():
    with ls.Engine(workers=1) as engine:
        engine.submit(abs, -1).result()
        address = engine.dashboard_url.removeprefix("http://")
        done = subprocess.run(
            [*TOP, address], capture_output=True, text=True, timeout=60, check=True, env=os.environ | {"COLUMNS": "40"}
        )
    assert max(map(len, done.stdout.splitlines())) == 40


@pytest.mark.parametrize(
    ("columns", "left_out"), [(120, ""), (80, ""), (70, "MOST DROPPED"), (60, "MOST DROPPED MEDIAN")]
)
def test_in_a_narrow_terminal_columns_are_left_out_and_no_number_is_cut(columns, left_out):
    numbers = {"submitted": 123_456, "finished": 123_441, "failed": 12, "dropped": 3, "total_s": 12345.0}
    group = {"name": "a_function_with_a_name_that_is_long", "ran_s": [1e-3, 1e-3, 1.2e-3, 0.1, 1.5], **numbers}
    overview = {
        "tasks": dict.fromkeys((*STATES, "submitted"), 0),
        "cores": {"busy": 1, "budget": 2},
        "memory": {"spilled_bytes": 0, "used_bytes": 0, "budget_bytes": 1},
        "workers": {"died": 0},
    }
    overview |= {"ended": False, "at_s": 3, "tasks_per_s": 2, "groups": [group], "groups_more": 0}
    worker = {"worker": 2, "kind": "process", "slots": 1, "pid": 12345, "attempts": 123_456, "down_s": None}
    worker["wrote"] = {"spilled_bytes": 123 << 20}
    worker |= {
        "process": {"cores": 0.5, "resident_bytes": 118 << 20},
        "running": [{"name": "f" * 80, "for_s": 2}],
        "running_more": 0,
    }
    lines = screen(overview, {"workers": [worker]}, columns=columns)
    title, row = next((line, lines[at + 1]) for at, line in enumerate(lines) if line.startswith("FUNCTION"))
    cells = {"DONE": "123,441/123,456", "TIME": "3 h 25 min", "FAILED": "12", "DROPPED": "3"}
    cells |= {"MEDIAN": "1.2 ms", "MOST": "1.5 s"}
    shown = [name for name in title.split() if name != "FUNCTION"]
    assert set(cells) - set(shown) == set(left_out.split())
    # Each number ends where its title does.
    assert all(row[: title.index(name) + len(name)].endswith(f" {cells[name]}") for name in shown)
    spilled = "123 MiB   " if columns >= 70 else ""
    assert f"0.50  118 MiB  {spilled}" in lines[-1]
    assert "123,456  fff" in lines[-1]
    assert max(map(len, lines)) <= columns


def test_an_address_may_stand_as_in_a_browser_and_a_number_is_a_port():
    with ls.Engine(workers=1) as engine:
        url = engine.dashboard_url
        for address in (f"{url}/#/overview", f"{url}#/tasks?state=failed", url.rpartition(":")[2]):
            done = run("--once", address)
            assert (done.returncode, done.stderr) == (0, ""), address


@pytest.mark.parametrize("body", [b"{}", b"[]", b"<html>", b"\xff", b'{"tasks": 1}'])
def test_others_that_answer_are_told_to_be_no_dashboard(body):
    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Other) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        done = run("--once", f"127.0.0.1:{server.server_port}")
        server.shutdown()
        thread.join()
    assert done.returncode == 1
    assert done.stderr.endswith("does not answer: what answers there is no dashboard of Lineshaft\n")


def test_an_address_that_cannot_be():
    done = run("--once", "127.0.0.1:99999")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr


def test_a_reader_that_has_seen_enough_is_no_error():
    with ls.Engine(workers=1) as engine:
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [*TOP, engine.dashboard_url], stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
        )
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_nobody_there():
    with ls.Engine(workers=1) as engine:
        url = engine.dashboard_url
    done = run(url)
    assert done.returncode == 1
    assert "does not answer" in done.stderr


def test_in_a_terminal_it_follows_until_ctrl_c():
    with ls.Engine(workers=1) as engine:
        ours, theirs = pty.openpty()
        with subprocess.Popen([*TOP, engine.dashboard_url], stdin=theirs, stdout=theirs, stderr=theirs) as shown:
            os.close(theirs)
            text = ""
            while "0 of 0 ended" not in text:
                text += os.read(ours, 65536).decode()
            engine.submit(abs, -1).result()
            while "1 of 1 ended" not in text:
                text += os.read(ours, 65536).decode()
            shown.send_signal(2)
            assert shown.wait(timeout=30) == 0
        os.close(ours)
