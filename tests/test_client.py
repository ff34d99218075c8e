"""The Python client and the commands that use it, against a real server."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from conftest import Shell
from real_server import PICTURE, Running, running
from test_serve_runs import give_plugin, one

from nodegraph import cli, connection
from nodegraph.client import ApiRefused, Client, ServerUnreachable
from nodegraph.home import Home
from nodegraph.workflow import Workflow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("client")
    with running(give_plugin(folder / "home")) as server:
        yield server


@pytest.fixture
def client(server: Running) -> Iterator[Client]:
    with Client(home=Home(server.home, server.home / "cache")) as client:
        yield client


def document(type: str, title: str = "", **values: object) -> Workflow:
    return Workflow.from_data(one(type, title, **values))


def test_the_client_finds_the_server_of_its_home(client: Client, server: Running) -> None:
    assert client.url == f"http://127.0.0.1:{server.port}"
    assert client.health().version
    assert client.system().home == str(server.home)
    assert "Paint" in client.nodes().nodes
    assert stat.S_IMODE((server.home / "server.json").stat().st_mode) == 0o600


def test_a_run_from_python(client: Client) -> None:
    run = client.submit(document("Paint", seed=1), values={"it.size": 16})
    done = client.wait(run.id)
    assert done.status == "succeeded"
    assert client.artifact(done.artifacts[0].id).startswith(b"\x89PNG")
    assert client.wait(run.id).id == run.id, "waiting for what has ended returns"
    assert client.gallery(limit=1).artifacts[0].id == done.artifacts[0].id
    client.wait(client.submit(document("Say", text="hello")).id)
    assert "hello" in client.log(client.runs("succeeded", limit=1).runs[0].id)


def test_following_a_run_gives_its_events(client: Client) -> None:
    run = client.submit(document("Wait", steps=4))
    events = list(client.follow(run.id))
    assert events[-1]["event"] == "finished"
    assert "node" not in events[-1]
    assert {event["run"] for event in events} == {run.id}


def test_problems_come_back_as_an_error_with_words(client: Client) -> None:
    with pytest.raises(ApiRefused, match=r"it\.seed") as caught:
        client.submit(document("Paint", seed="x"))
    assert caught.value.status == 422
    assert caught.value.problems[0].input == "seed"
    assert client.check(document("Paint", seed="x"))[0].node == "it"


def test_cancel_and_the_queue(client: Client) -> None:
    client.pause()
    run = client.submit(document("Wait"))
    assert client.queue().queued == [run.id]
    assert client.cancel(run.id).status == "cancelled"
    client.submit(document("Wait"))
    assert client.clear() == 1
    assert not client.resume().paused


def test_upload(client: Client, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PICTURE)
    stored = client.upload(tmp_path / "cat.png")
    assert (stored.name, stored.width, stored.height) == ("cat.png", 64, 64)


def test_no_server_is_said_so() -> None:
    with (
        Client("http://127.0.0.1:9") as client,
        pytest.raises(ServerUnreachable, match=r"\(connection refused\); start one with nodegraph serve"),
    ):
        client.health()


def test_submit_follow_prints_what_was_made(server: Running, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "paint.json").write_text(json.dumps(one("Paint", seed=4)))
    home = {"NODEGRAPH_HOME": str(server.home)}
    done = shell("submit", "paint.json", "--set", "it.size=20", "--follow", **home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"http://127.0.0.1:{server.port}/api/artifacts/")
    assert "it: finished" in done.stderr
    refused = shell("submit", "paint.json", "--set", "it.sise=20", **home)
    assert refused.returncode == 2
    assert "Did you mean 'size'?" in refused.stderr
    failed = shell("submit", "paint.json", "--set", "it.size=-5", "--follow", **home)
    assert failed.returncode == 1
    words, line = failed.stderr.splitlines()[-2:]
    assert words.startswith("RuntimeError: ")
    assert line.startswith("  RuntimeError at served.py, line ")


def test_the_trash_is_shown_and_emptied_as_a_command(client: Client, server: Running, shell: Shell) -> None:
    client.empty_trash()
    home = {"NODEGRAPH_HOME": str(server.home)}
    (server.home / "workflows").mkdir(exist_ok=True)
    (server.home / "workflows" / "old.json").write_text("{" + " " * 1_199_999)
    server.ask("DELETE", "/api/workflows/old")
    (trashed,) = client.trash().workflows
    shown = shell("trash", **home)
    assert (shown.stdout, shown.stderr) == (f"{trashed.id}  old\n", "1 workflow, 0 files of runs, 1.2 MB\n")
    gone = shell("trash", "--empty", **home)
    assert gone.stdout == "removed for good: 1 workflow, 0 files of runs, 1.2 MB\n"
    assert client.trash().workflows == []


def test_submit_queue_and_cancel_as_commands(server: Running, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "wait.json").write_text(json.dumps(one("Wait", "Long", steps=10_000)))
    url = f"http://127.0.0.1:{server.port}"
    run = shell("submit", "wait.json", "--server", url).stdout.strip()
    assert f"{run} " in shell("queue", "--server", url).stdout
    follower = subprocess.Popen(
        [sys.executable, "-m", "nodegraph", "submit", "wait.json", "--server", url, "--follow"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while len(server.get("/api/queue").json["queued"]) != 1:
        time.sleep(0.05)
    (other,) = server.get("/api/queue").json["queued"]
    cancelled = shell("cancel", run, other, "--server", url)
    assert cancelled.returncode == 0
    assert other in cancelled.stdout
    _, err = follower.communicate(timeout=30)
    assert follower.returncode == 130, err
    for unknown in ("0123456789", "zzz"):
        refused = shell("cancel", unknown, "--server", url)
        assert refused.returncode == 2
        assert refused.stderr == f"there is no run {unknown!r}; nodegraph queue lists those that run and wait\n"
    assert "paused" in shell("queue", "--pause", "--server", url).stderr
    assert "paused" not in shell("queue", "--resume", "--server", url).stderr


def test_a_run_that_is_followed_outlives_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is killed after an hour of silence, and started again; who waits gets the result."""
    home = give_plugin(tmp_path / "home")
    results = []
    with running(home) as first, Client(f"http://127.0.0.1:{first.port}") as client:
        run = client.submit(document("Wait", steps=1, seconds=3))
        waiting = threading.Thread(target=lambda: results.append(client.wait(run.id)))
        waiting.start()
        while client.run(run.id).status != "running":
            time.sleep(0.05)
        monkeypatch.setattr(connection, "time", LaterClock)
        first.process.kill()
        first.process.wait()
        with running(home, "--port", str(first.port)) as second:
            assert second.port == first.port
            waiting.join(60)
    assert [(done.status, done.attempts) for done in results] == [("succeeded", 2)]


class LaterClock:
    """The time in an hour."""

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() + 3600


def test_events_that_are_refused_again_and_again_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Proxy(BaseHTTPRequestHandler):
        """Stands before a server that is down."""

        def do_GET(self) -> None:
            self.send_error(503)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(connection, "RECONNECT_SECONDS", 0.0)
    with HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        answering = threading.Thread(target=proxy.serve_forever)
        answering.start()
        try:
            with (
                Client(f"http://127.0.0.1:{proxy.server_port}") as client,
                pytest.raises(ServerUnreachable, match="refuses its events: 503"),
            ):
                list(client.events())
        finally:
            proxy.shutdown()
            answering.join()


def test_submit_follow_names_the_run_where_the_server_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "RECONNECT_SECONDS", 0.0)
    (tmp_path / "wait.json").write_text(json.dumps(one("Wait", steps=10_000)))
    with running(give_plugin(tmp_path / "home")) as server:
        url = f"http://127.0.0.1:{server.port}"
        monkeypatch.setattr(
            "sys.argv", ["nodegraph", "submit", str(tmp_path / "wait.json"), "--follow", "--server", url]
        )

        def end() -> None:
            while not server.get("/api/system").json["clients"]:
                time.sleep(0.05)
            server.process.kill()

        ending = threading.Thread(target=end)
        ending.start()
        status = cli._run()
        ending.join()
    first, *_, last = capsys.readouterr().err.splitlines()
    assert status == 1
    run = first.removeprefix("the run ").removesuffix(" is queued")
    assert last == f"the connection to {url} was lost; the server has accepted the run {run} and keeps it"


def test_titles_cannot_command_a_terminal(server: Running, shell: Shell, client: Client) -> None:
    client.pause()
    run = client.submit(document("Wait", "red \x1b[31m\x07 alert"))
    shown = shell("queue", "--server", client.url).stdout
    client.cancel(run.id)
    client.resume()
    assert run.id in shown
    assert "\x1b" not in shown
    assert "\x07" not in shown
