"""`poolbench serve`: what is served, to whom, and that nothing is written; in the real browser, while records come."""

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from report.conftest import Results
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from poolbench.cli import main
from poolbench.experiment import Experiment, write_experiment
from poolbench.folders import experiments_in
from poolbench.record import write_bytes, write_record
from poolbench.report.reading.trials import TRIALS, TUNED, Trial, Trials
from poolbench.serve import PageServer
from poolbench.serve.site import Site
from poolbench.serve.watched import Made, Watched

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
WAIT_S = 20.0
HOSTILE = "<img src=x onerror=alert(1)>"


def fill(folder: Path) -> Results:
    results = Results(folder)
    for seed in range(3):
        results.add("max", seed, 0.90 + seed / 100)
        results.add("avg", seed, 0.85 + seed / 100)
    return results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """A folder `results` with two experiments, one of them nested, and one that has no record yet."""
    fill(tmp_path / "results" / "reference" / "nested")
    (tmp_path / "results" / "empty" / "records").mkdir(parents=True)
    found = fill(tmp_path / "results" / "first")
    write_experiment(found.folder, Experiment("first", question=f"Does it matter? {HOSTILE}"))
    return found


@pytest.fixture
def server(results: Results) -> Iterator[PageServer]:
    with PageServer(results.folder.parent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(server: PageServer, path: str, method: str = "GET", host: str | None = "127.0.0.1") -> tuple[int, bytes, Any]:
    """Ask the server by the name `host`; None: the request names none."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("it did not come")


def test_the_index_names_question_verdict_date_and_cells(server: PageServer, results: Results) -> None:
    def index() -> str:
        return ask(server, "/")[1].decode()

    until(lambda: "being read" not in index())
    text = index()
    assert re.findall(r'href="(/e/[^"]+)"', text) == ["/e/first/", "/e/reference/nested/", "/e/empty/"]
    assert HOSTILE not in text
    assert "Does it matter?" in text
    assert re.findall(r'class="number cells"[^>]*>(\d+)<', text) == ["6", "6", "0"]
    assert re.findall(r'class="number failed[^>]*>(\d+)<', text) == ["0", "0", "0"]
    verdicts = re.findall(r'<td class="verdict">([^<]*)<', text)
    assert verdicts[0] == verdicts[1] != ""
    assert "no record" in verdicts[2]
    results.add("avg", 7, None, status="failed", reason="it broke")
    assert re.findall(r'class="number failed bad">(\d+)<', index()) == ["1"]


def test_a_page_is_the_reports_own(server: PageServer, results: Results) -> None:
    assert main(["report", str(results.folder), "--quiet"]) == 0
    for name in ("report.html", "accuracy.csv", "summary.md"):
        assert ask(server, f"/e/first/{name}")[1] == (results.folder / name).read_bytes()
    assert ask(server, "/e/reference/nested/")[0] == 200
    status, text, _ = ask(server, "/e/empty/report.html")
    assert status == 200
    assert b"no record" in text


def test_a_folder_whose_name_is_not_utf8_is_shown(tmp_path: Path) -> None:
    (tmp_path / "served" / os.fsdecode(b"t\xe9") / "records").mkdir(parents=True)
    site = Site(tmp_path / "served")
    text = until(lambda: "being read" not in (page := site.answer("/").content.decode()) and page)
    assert "t\ufffd" in text
    assert 'href="/e/t%E9/"' in text
    assert site.answer("/e/t%E9/").status == 200
    assert "t\ufffd" in json.loads(site.answer("/state.json").content)["experiments"]


def test_any_name_of_an_experiment_and_what_lies_behind_links_is_found(tmp_path: Path) -> None:
    results = tmp_path / "results"
    for name in ("speed", "plan", "study/wandb"):
        fill(results / name)
    fill(tmp_path / "elsewhere" / "one")
    (results / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (results / "speed" / "around").symlink_to(results, target_is_directory=True)
    # What an experiment holds itself is none.
    (results / "speed" / "wandb" / "records").mkdir(parents=True)
    assert list(experiments_in(results)) == ["linked/one", "plan", "speed", "study/wandb"]


def test_a_folder_of_one_experiment_is_served_by_its_name(results: Results) -> None:
    with PageServer(results.folder) as server:
        assert '"first"' in server.site.answer("/state.json").content.decode()
        assert server.site.answer("/e/first/report.html").status == 200


@pytest.mark.quick(2)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_but_reading_is_answered(server: PageServer, method: str) -> None:
    assert ask(server, "/", method)[0] == 501


@pytest.mark.quick(2)
@pytest.mark.parametrize(
    "path",
    [
        *("/e/first/record.json", "/e/first/experiment.json", "/e/first/records/", "/e/nothing/", "/e/first"),
        *("/e/../../etc/passwd", "/e/first/..%2f..%2f..%2fetc%2fpasswd", "/own/../server.py", "/own/server.py", "/x"),
    ],
)
def test_nothing_else_is_found(server: PageServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_the_record_that_a_page_links_to_is_there(server: PageServer, results: Results) -> None:
    for path, name in ((results.folder, "first"), (results.folder.parent / "reference" / "nested", "reference/nested")):
        run = next((path / "records").iterdir()).name
        status, content, headers = ask(server, f"/e/{name}/records/{quote(run)}/record.json")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert content == (path / "records" / run / "record.json").read_bytes()
        (path / "records" / run / "outcomes.npz").write_bytes(b"")
        assert ask(server, f"/e/{name}/records/{quote(run)}/outcomes.npz")[0] == 404
    (results.folder / "record.json").write_text("{}")
    (results.folder / "other").mkdir()
    (results.folder / "other" / "record.json").write_text("{}")
    for run in ("nothing", "..", ".", "", "%2e%2e", "..%2fother", "%2e%2e%2fother", "%2fetc"):
        assert ask(server, f"/e/first/records/{run}/record.json")[0] == 404, run
    assert ask(server, f"/e/nothing/records/{quote(run)}/record.json")[0] == 404


def test_only_this_machine_by_its_own_name_is_answered(server: PageServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert ask(server, "/", host="localhost:1")[0] == 200
    for host in ("evil.example", "", None):
        assert ask(server, "/", host=host)[0] == 421


@pytest.mark.parametrize(("path", "status"), [("/e/first/", 200), ("/e/first/accuracy.csv", 200), ("/x", 404)])
def test_head_is_get_without_content(server: PageServer, path: str, status: int) -> None:
    _, content, headers = ask(server, path)
    with socket.create_connection(server.server_address[:2], timeout=30) as connection:
        # By hand: http.client reads no content after HEAD, whether or not there is some.
        connection.sendall(f"HEAD {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        head, _, rest = connection.makefile("rb").read().partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    assert int(first.split()[1]) == ask(server, path)[0] == status
    found = dict(line.split(": ", 1) for line in lines)
    assert int(found["Content-Length"]) == len(content) > 0
    assert {name: found[name] for name in found if name != "Date"} == {
        name: value for name, value in headers.items() if name != "Date"
    }
    assert rest == b""


def test_nothing_is_written(server: PageServer, results: Results) -> None:
    top = results.folder.parent

    def listing() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in top.rglob("*")}

    before = listing()
    for path in (
        "/",
        "/e/first/",
        "/e/first/report.html",
        "/e/first/state.json",
        "/state.json",
        "/e/empty/report.html",
    ):
        assert ask(server, path)[0] == 200
    until(lambda: "being read" not in ask(server, "/")[1].decode())
    assert listing() == before


def test_a_page_is_made_again_when_a_trial_or_a_tuned_arm_ends(results: Results) -> None:
    watched = Watched("first", results.folder)
    versions = [watched.progress().version]
    trial = Results(results.folder / TRIALS).add("avg", 0, 0.8)
    versions.append(watched.progress().version)
    Trials(0, {trial["run_id"]: Trial("arm", 0, {})}).write(results.folder)
    versions.append(watched.progress().version)
    Results(results.folder / TUNED).add("avg", 1, 0.9)
    versions.append(watched.progress().version)
    assert len(set(versions)) == 4
    assert watched.progress().version == versions[-1]
    assert watched.progress().cells == {"ok": 6}  # the experiment's own


def test_an_experiment_that_cannot_be_read_says_so_and_hinders_no_other(
    results: Results, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = results.add("avg", 9, 0.9) | {"times": [], "run_id": "edited"}
    write_record(results.folder / "records" / "edited" / "record.json", record)
    claim = fill(results.folder.parent / "claimed").folder / "plan" / "claims" / "run.1"
    write_bytes(claim, b"[]")
    (claim.parents[1] / "cells").mkdir()
    made, broken = Watched.made, {"reference/nested"}

    def breaks(watched: Watched) -> Made:
        if watched.name in broken:
            raise ZeroDivisionError("it broke")
        return made(watched)

    monkeypatch.setattr(Watched, "made", breaks)
    site = Site(results.folder.parent)

    def verdicts() -> dict[str, str]:
        text = site.answer("/").content.decode()
        return dict(re.findall(r'<a href="/e/([^"]+)/".*?<td class="verdict">([^<]*)<', text, re.DOTALL))

    until(lambda: not any("being read" in verdict for verdict in verdicts().values()))
    found = verdicts()
    assert found["reference/nested"].startswith("its page cannot be made: ZeroDivisionError: it broke (in breaks, ")
    assert found["claimed"].startswith("it cannot be read: TypeError: ")
    assert "no record" in found["empty"]
    assert found["first"]
    said = capsys.readouterr().err.splitlines()
    assert sorted(line.partition(": it")[0] for line in said) == [
        "poolbench serve: claimed",
        "poolbench serve: reference/nested",
    ]
    broken.clear()
    claim.unlink()
    until(lambda: not any("cannot be" in verdict for verdict in verdicts().values()))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["nowhere"],
            "no results folder nowhere, nor another in .; give a folder",
        ),
        ([".", "--port", "70000"], "--port must be in 0..65535, got 70000"),
    ],
)
def test_a_mistake_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["serve", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_taken_port_is_told(server: PageServer, capsys: pytest.CaptureFixture[str]) -> None:
    port = server.server_address[1]
    assert main(["serve", str(server.site.folder), "--port", str(port)]) == 2
    assert f"--port {port} cannot be served" in capsys.readouterr().err


def test_the_command_needs_no_torch_and_ends_by_sigint(results: Results) -> None:
    command = (
        "import sys, threading, urllib.request, os, signal\n"
        # A shell gives what it runs in the background a SIGINT that is ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from poolbench.cli import main\n"
        "import poolbench.serve.server as server\n"
        "class Asked(server.PageServer):\n"
        "    def serve_forever(self):\n"
        "        threading.Thread(target=ask, args=(self,), daemon=True).start()\n"
        "        super().serve_forever()\n"
        "def ask(self):\n"
        "    for path in ('', 'e/first/', 'e/first/report.html', 'state.json'):\n"
        "        urllib.request.urlopen(self.address + path).read()\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "import poolbench.serve; poolbench.serve.PageServer = Asked\n"
        f"status = main(['serve', {str(results.folder.parent)!r}, '--port', '0'])\n"
        "never = {'torch', 'lightning', 'hydra', 'omegaconf', 'wandb'} & set(sys.modules)\n"
        "assert not never, never\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("http://127.0.0.1:")


@pytest.fixture(scope="module")
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    yield driver
    driver.quit()


@pytest.mark.skipif(
    not (BROWSER and DRIVER),
    reason="no chromium and chromedriver on the path; `apt-get install chromium chromium-driver` brings both",
)
@pytest.mark.slow
def test_in_the_browser_index_and_page_refresh_while_records_come(
    chromium: webdriver.Chrome, server: PageServer, results: Results
) -> None:
    def texts(selector: str) -> list[str]:
        # At once: what is replaced between two questions would be stale.
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText.trim())"
        found: list[str] = chromium.execute_script(script, selector)
        return found

    chromium.get(server.address)
    until(lambda: "being read …" not in texts("td.verdict"))
    assert texts("tbody th")[0] == "first"
    assert HOSTILE in texts("td.question")[0]  # as a text
    assert texts("td.cells") == ["6", "6", "0"]
    results.add("gap", 0, 0.99)
    until(lambda: texts("td.cells") == ["7", "6", "0"])
    chromium.find_element(By.LINK_TEXT, "first").click()
    until(lambda: texts("#said") == ["7 ok"])

    def rows() -> str:
        chromium.switch_to.frame("report")
        try:
            return " ".join(texts("#variants"))
        finally:
            chromium.switch_to.default_content()

    until(lambda: "gap" in rows())
    assert "lip" not in rows()
    chromium.switch_to.frame("report")
    chromium.execute_script("window.scrollTo(0, 400)")
    chromium.switch_to.default_content()
    results.add("lip", 0, None, status="failed", reason="it broke")
    until(lambda: texts("#said") == ["7 ok, 1 failed"])
    until(lambda: "lip" in rows())
    chromium.switch_to.frame("report")
    assert until(lambda: chromium.execute_script("return window.scrollY")) == 400
    chromium.switch_to.default_content()
    chromium.find_element(By.LINK_TEXT, "All experiments").click()
    until(lambda: texts("td.failed") == ["1", "0", "0"])
    assert not [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"]
    asked = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    urls = {one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"}
    assert {url for url in urls if not url.startswith((server.address, "data:"))} == set()
