"""The dashboard's address: when there is one, who answers there, and how it ends."""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import psutil
import pytest

import lineshaft as ls


def fetch(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def listening():
    """Ports that this process listens on."""
    connections = psutil.Process().net_connections("tcp")
    return {connection.laddr.port for connection in connections if connection.status == psutil.CONN_LISTEN}


def test_no_port_is_opened_before_somebody_asks_and_none_is_left():
    before = listening()
    with ls.Engine(workers=1) as engine:
        assert engine.submit(abs, -1).result() == 1
        assert listening() == before
        url = engine.dashboard_url
        assert url.startswith("http://127.0.0.1:")
        assert engine.dashboard_url == url
        assert listening() - before == {int(url.rpartition(":")[2])}
        overview = json.loads(fetch(url + "/api/overview"))
        assert overview["tasks"]["finished"] == 1, "what ran before is there too"
    assert listening() == before
    with pytest.raises(urllib.error.URLError):
        fetch(url)
    with pytest.raises(RuntimeError, match="shut down"):
        _ = engine.dashboard_url


def test_it_can_be_forbidden():
    with ls.Engine(workers=1, dashboard=False) as engine, pytest.raises(RuntimeError, match="dashboard=False"):
        _ = engine.dashboard_url


def test_it_can_be_served_from_the_start_and_says_where(capsys):
    with ls.Engine(workers=1, dashboard=True) as engine:
        assert capsys.readouterr().err == f"lineshaft: dashboard at {engine.dashboard_url}\n"
        assert "Lineshaft" in fetch(engine.dashboard_url)


def test_a_reader_sees_the_end():
    with ls.Engine(workers=1) as engine:
        address = engine.dashboard_url.removeprefix("http://").split(":")
        with socket.create_connection((address[0], int(address[1])), timeout=30) as reader:
            reader.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            events = reader.makefile("rb")
            while not (line := events.readline()).startswith(b"data:"):
                assert line, "the first event comes at once"
            assert engine.submit(abs, -1).result() == 1
            engine.shutdown()
            data = [json.loads(line[5:]) for line in events if line.startswith(b"data:")]
    *_, overview, record = data
    assert overview["ended"] is True
    assert overview["tasks"]["finished"] == 1
    assert record["tasks"]["task"] == [1], "the whole run is what comes last"


def test_a_forked_child_does_not_keep_the_port_open():
    with ls.Engine(workers=1) as engine:
        url = engine.dashboard_url
        parents, childs = socket.socketpair()
        child = os.fork()
        if child == 0:
            parents.close()
            childs.sendall(b"forked")
            childs.recv(1)
            os._exit(0)
        childs.close()
        assert parents.recv(16) == b"forked"
        fetch(url)
    try:
        with pytest.raises(urllib.error.URLError, match="refused"):
            fetch(url)
    finally:
        parents.close()
        os.waitpid(child, 0)


def test_a_task_that_waits_says_for_what(event):
    leave = event("leave")
    with ls.Engine(workers=1) as engine:
        blocker = engine.submit(leave.wait)
        waiting = engine.submit(bool, blocker)
        rows = json.loads(fetch(engine.dashboard_url + "/api/tasks?state=waiting"))["rows"]
        detail = json.loads(fetch(f"{engine.dashboard_url}/api/tasks/{rows[0]['task']}"))
        leave.set()
        waiting.result()
    assert detail["explanation"].startswith("it waits for 1 other task: ")
    assert detail["assigned_s"] is None


PROGRAM = """
import sys, urllib.request
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(1) as pool:
    print(pool.submit(abs, -1).result())
    print(sys.stdin.readline().strip())
"""


def test_what_a_task_printed_is_its_own():
    def shout(number):
        print(number)
        print("wrong", number, file=sys.stderr)

    with ls.Engine(workers=1) as engine:
        # So many so short ones that the worker is at a later one when what they print is read.
        for future in [engine.submit(shout, number) for number in range(200)]:
            future.result()
        details = [json.loads(fetch(f"{engine.dashboard_url}/api/tasks/{task}")) for task in range(1, 201)]
    printed = [(sorted(detail["output"].splitlines()), detail["output_is_guess"]) for detail in details]
    assert printed == [([str(number), f"wrong {number}"], False) for number in range(200)]


def test_what_is_written_around_the_streams_may_be_anothers(tmp_path):
    def write(text):
        os.write(1, text.encode())

    def print_to_a_file():
        output = os.dup(1)
        with (tmp_path / "printed").open("wb") as file:
            os.dup2(file.fileno(), 1)
        print("nothing but this")
        os.dup2(output, 1)
        os.close(output)

    with ls.Engine(workers=1) as engine:
        engine.submit(write, "hello").result()
        detail = json.loads(fetch(f"{engine.dashboard_url}/api/tasks/1"))
        engine.submit(print_to_a_file).result()
    assert (detail["output"], detail["output_is_guess"]) == ("hello", True)
    assert (tmp_path / "printed").read_text() == "nothing but this\n"


def test_what_is_left_out_of_a_task_is_said():
    def shout(count):
        print("x" * count)

    def raise_something_long():
        raise ValueError(f"the beginning {'x' * 100_000} the end")

    with ls.Engine(workers=1) as engine:

        def detail(future):
            future.exception()
            tasks = json.loads(fetch(f"{engine.dashboard_url}/api/tasks"))["rows"]
            return json.loads(fetch(f"{engine.dashboard_url}/api/tasks/{tasks[0]['task']}"))

        first = detail(engine.submit(shout, 100))
        assert (first["output"], first["output_dropped"]) == ("x" * 100 + "\n", None)
        much = detail(engine.submit(shout, 2**21))
        assert len(much["output"]) + much["output_dropped"]["bytes"] == 100 + 1 + 2**21 + 1
        assert detail(engine.submit(shout, 100))["output_dropped"] is None, "what comes later has lost nothing"
        (traceback,) = detail(engine.submit(raise_something_long))["tracebacks"]
    assert re.search(r"\nValueError: the beginning x+\n\[\.\.\. \d+ bytes are left out", traceback["text"])
    assert traceback["text"].endswith("x the end\n")


def test_lineshaft_run_serves_it_for_an_unmodified_program():
    command = [sys.executable, "-m", "lineshaft", "run", "--no-summary", "-c", PROGRAM]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as program:
        assert program.stdout.readline() == "1\n"
        said = program.stderr.readline()
        url = said.split()[-1]
        assert said == f"lineshaft: dashboard at {url}\n"
        assert 'outcome="finished"} 1' in fetch(url + "/metrics")
        out, err = program.communicate("bye\n", timeout=60)
    assert (program.returncode, out, err) == (0, "bye\n", "")


LISTENS = """
import psutil
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(1) as pool:
    pool.submit(abs, -1).result()
    print(sum(one.status == psutil.CONN_LISTEN for one in psutil.Process().net_connections("tcp")))
"""


def test_other_addresses_need_the_token(capsys):
    with ls.Engine(workers=1, dashboard="127.0.0.2") as engine:
        url = engine.dashboard_url
        assert capsys.readouterr().err == f"lineshaft: dashboard at {url}\n"
        address, token = url.split("/?token=")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            fetch(f"{address}/api/overview")
        request = urllib.request.Request(f"{address}/api/overview", headers={"Authorization": f"Bearer {token}"})
        assert json.loads(fetch(request))["ended"] is False
        for shown, status in ((url, 0), (f"{url}0", 1), (address, 1)):
            ended = subprocess.run(
                [sys.executable, "-m", "lineshaft", "top", "--once", shown], capture_output=True, text=True, timeout=60
            )
            assert ended.returncode == status
            assert ("Unauthorized" in ended.stderr) == (status == 1)


@pytest.mark.parametrize(
    "address", ["", "localhost", "300.0.0.1", "0.0.0.0:", "127.0.0.1:65536", "127.0.0.1:x", ":80", "::1:x"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match="address"):
        ls.Engine(workers=1, dashboard=address)


@pytest.mark.parametrize("neither", [8800, 1.5, b"127.0.0.1"])
def test_what_is_neither_a_bool_nor_text_is_refused(neither):
    with pytest.raises(TypeError, match="dashboard must be True, False or an address"):
        ls.Engine(workers=1, dashboard=neither)


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]"])
def test_a_port_that_was_asked_for_is_the_one_or_there_is_none(address):
    family = socket.AF_INET6 if "[" in address else socket.AF_INET
    with socket.create_server((address.strip("[]"), 0), family=family) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf":{port}: "):
            ls.Engine(workers=1, dashboard=f"{address}:{port}")
    with ls.Engine(workers=1, dashboard=f"{address}:{port}") as engine:
        assert engine.dashboard_url == f"http://{address}:{port}"
        assert json.loads(fetch(f"{engine.dashboard_url}/api/overview"))["ended"] is False


@pytest.mark.parametrize(("options", "ports", "says"), [([], "1\n", True), (["--no-dashboard"], "0\n", False)])
def test_lineshaft_run_can_be_told_to_serve_none(options, ports, says):
    command = [sys.executable, "-m", "lineshaft", "run", "--no-summary", *options, "-c", LISTENS]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, ports), ended.stderr
    assert ended.stderr.startswith("lineshaft: dashboard at ") if says else ended.stderr == ""


def test_lineshaft_run_opens_no_port_for_a_program_without_pools():
    code = "import sys; print('lineshaft._native' in sys.modules)"
    command = [sys.executable, "-m", "lineshaft", "run", "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "False\n", "")


def test_in_a_notebook_an_engine_is_shown_with_a_link():
    with ls.Engine(workers=1) as engine:
        assert f'href="{engine.dashboard_url}"' in engine._repr_html_()
    assert "href" not in engine._repr_html_()
    with ls.Engine(workers=1, dashboard=False) as engine:
        assert "href" not in engine._repr_html_()
        assert "Engine" in engine._repr_html_()


def test_a_worker_that_no_sample_met_has_the_most_memory_that_it_had():
    with ls.Engine(workers=1) as engine:
        for _ in range(5):
            with ls.ProcessPoolExecutor(1, _engine=engine) as executor:
                executor.submit(abs, -1).result()
        workers = json.loads(fetch(f"{engine.dashboard_url}/api/workers"))["workers"]
    gone = [worker["peak_bytes"] for worker in workers if worker["down_s"] is not None]
    assert len(gone) >= 5
    assert all(peak_bytes is not None and peak_bytes > 1 << 20 for peak_bytes in gone)
