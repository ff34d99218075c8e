"""Runs, the queue, the gallery and the websocket over HTTP, on a real server with a real worker."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from real_server import Running, running

from nodegraph import pictures
from nodegraph.workflow import Workflow

PLUGIN = '''
import time
from nodegraph import Context, node
from nodegraph.diffusion.values import Image

@node(category="test", effect="files")
def Paint(context: Context, seed: int = 0, size: int = 32) -> None:
    """Save a picture."""
    import torch
    from nodegraph import pictures
    tensor = torch.rand(3, size, size, generator=torch.Generator().manual_seed(seed))
    context.save("paint", ".png", pictures.encode_png(tensor, context.metadata))

@node(category="test", effect="files")
def Page(context: Context, text: str, suffix: str = ".html") -> None:
    """Save anything at all."""
    context.save("page", suffix, text.encode())

@node(category="test", effect="always")
def Wait(context: Context, steps: int = 3, seconds: float = 0.05) -> None:
    """Take some time."""
    for _ in context.track(range(steps)):
        time.sleep(seconds)

@node(category="test", effect="always")
def Say(text: str) -> None:
    """Print."""
    print(text)
'''


def give_plugin(home: Path) -> Path:
    (home / "plugins").mkdir(parents=True)
    (home / "plugins" / "served.py").write_text(PLUGIN)
    return home


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(give_plugin(tmp_path_factory.mktemp("home"))) as server:
        yield server


def one(type: str, title: str = "", **values: Any) -> dict[str, Any]:
    return {"format": "nodegraph", "version": 1, "title": title, "nodes": {"it": {"type": type, "values": values}}}


def submit(server: Running, data: dict[str, Any], **more: Any) -> Any:
    answer = server.ask("POST", "/api/runs", {"workflow": data, **more})
    assert answer.status == 201, answer.body
    return answer.json


def ended(server: Running, run: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = server.get(f"/api/runs/{run}").json
        if found["status"] not in ("queued", "running"):
            return found
        time.sleep(0.05)
    raise AssertionError(f"the run is still {found['status']}")


def test_a_run_is_accepted_carried_out_and_shown(server: Running) -> None:
    run = submit(server, one("Paint", "A painting", seed=3))
    assert run["status"] == "queued"
    assert run["title"] == "A painting"
    done = ended(server, run["id"])
    assert done["status"] == "succeeded"
    assert done["nodes"]["it"]["state"] == "finished"
    (artifact,) = done["artifacts"]
    content = server.get(artifact["content"])
    assert content.headers["Content-Type"] == "image/png"
    assert pictures.decode(content.body).shape == (3, 32, 32)
    small = server.get(artifact["thumbnail"] + "?size=64")
    assert small.headers["Content-Type"] == "image/webp"
    assert pictures.decode(small.body).shape == (3, 32, 32), "never larger than the picture itself"
    carried = server.get(f"{artifact['content']}/workflow").json
    assert carried["workflow"]["title"] == "A painting"
    assert carried["receipt"]["node"] == "it"
    assert artifact["id"] in {entry["id"] for entry in server.get("/api/gallery").json["artifacts"]}
    assert server.get(f"/api/runs/{run['id']}/workflow").json["workflow"]["title"] == "A painting"


def test_the_workflow_of_a_run_is_told_as_it_is_stored(server: Running) -> None:
    run = submit(server, one("Paint", seed=5), targets=["it"])
    answer = server.get(f"/api/runs/{run['id']}/workflow")
    assert answer.headers["Content-Type"].startswith("application/json")
    document = Workflow.from_data(one("Paint", seed=5))
    assert answer.json == {"workflow": json.loads(document.dump()), "targets": ["it"]}
    assert document.dump().encode() in answer.body, "else a large one is read and checked again"


def test_a_node_deep_inside_subgraphs_may_be_wanted_and_set(server: Running) -> None:
    outer, middle, inner = (letter * 90 for letter in "omi")
    data = one("Paint")
    data["nodes"] = {outer: {"type": "subgraph:outer"}}
    data["subgraphs"] = {
        "outer": {"nodes": {middle: {"type": "subgraph:middle"}}},
        "middle": {"nodes": {inner: {"type": "Paint", "values": {"seed": 1}}}},
    }
    address = f"{outer}/{middle}/{inner}"
    run = submit(server, data, targets=[address], values={f"{address}.seed": 6})
    done = ended(server, run["id"])
    assert done["status"] == "succeeded", done["error"]
    assert list(done["nodes"]) == [address]


def test_a_large_picture_gets_a_small_thumbnail(server: Running) -> None:
    (artifact,) = ended(server, submit(server, one("Paint", size=700))["id"])["artifacts"]
    sizes = {asked: pictures.decode(server.get(f"{artifact['thumbnail']}?size={asked}").body).shape[2]
             for asked in (64, 100, 256, 1000)}  # fmt: skip
    assert sizes == {64: 64, 100: 128, 256: 256, 1000: 700}
    assert server.get(f"{artifact['thumbnail']}?size=63").status == 422
    assert server.get(f"{artifact['thumbnail']}?size=5000").status == 422


def test_what_is_no_picture_is_never_shown(server: Running) -> None:
    for suffix in (".html", ".svg", ".png", ".xhtml", ".js"):
        text = "<html xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></html>"
        done = ended(server, submit(server, one("Page", text=text, suffix=suffix))["id"])
        (artifact,) = done["artifacts"]
        answer = server.get(artifact["content"])
        assert answer.body == text.encode()
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
        assert artifact["thumbnail"] is None
        assert server.get(f"{artifact['content']}/thumbnail").status == 415


def test_a_deleted_artifact_goes_to_the_trash(server: Running) -> None:
    (artifact,) = ended(server, submit(server, one("Paint", seed=77))["id"])["artifacts"]
    content = server.get(artifact["content"]).body
    assert server.ask("DELETE", artifact["content"]).json["id"] == artifact["id"]
    assert server.get(artifact["content"]).status == 404
    assert server.ask("DELETE", artifact["content"]).status == 404
    assert content in [path.read_bytes() for path in (server.home / "trash").rglob("*.png")]
    # What is there can be looked at, and how much of it at once is asked for.
    (other,) = ended(server, submit(server, one("Paint", seed=79))["id"])["artifacts"]
    server.ask("DELETE", other["content"])
    assert server.get("/api/trash/artifacts").json["artifacts"][:2] == [other, artifact]
    first = server.get("/api/trash/artifacts?limit=1").json
    assert first == {"artifacts": [other], "next": other["id"]}
    assert server.get(f"/api/trash/artifacts?limit=1&before={other['id']}").json["artifacts"] == [artifact]
    assert server.get(f"/api/trash/artifacts?before={'0' * 20}").status == 404
    assert server.get(artifact["thumbnail"]).headers["Content-Type"] == "image/webp"
    assert server.ask("POST", f"{artifact['content']}/restore").json == artifact
    assert server.get("/api/trash/artifacts?limit=1").json["artifacts"] == [other]
    assert server.get(artifact["content"]).body == content
    assert artifact in server.get("/api/gallery").json["artifacts"]
    assert server.ask("POST", f"{artifact['content']}/restore").status == 404


def test_the_trash_says_what_it_takes_and_is_emptied_for_good(server: Running) -> None:
    (artifact,) = ended(server, submit(server, one("Paint", seed=78))["id"])["artifacts"]
    assert server.ask("DELETE", "/api/trash").status == 200
    assert server.get("/api/trash").json == {"workflows": [], "artifacts": 0, "bytes": 0}
    assert server.ask("PUT", "/api/workflows/gone", {"workflow": one("Paint")}).status == 201
    size = (server.home / "workflows" / "gone.json").stat().st_size + artifact["bytes"]
    trashed = server.ask("DELETE", "/api/workflows/gone").json
    server.ask("DELETE", artifact["content"])
    assert server.get("/api/trash").json == {"workflows": [trashed], "artifacts": 1, "bytes": size}
    assert server.ask("DELETE", "/api/trash").json == {"workflows": 1, "artifacts": 1, "bytes": size}
    assert [path for path in (server.home / "trash").rglob("*") if path.is_file()] == []
    assert server.ask("POST", f"/api/trash/{trashed['id']}/restore").status == 404
    assert server.ask("POST", f"{artifact['content']}/restore").status == 404
    assert server.get(artifact["thumbnail"]).status == 404
    assert server.get("/api/trash/artifacts").json == {"artifacts": [], "next": None}
    assert server.ask("DELETE", "/api/trash").json == {"workflows": 0, "artifacts": 0, "bytes": 0}


def test_a_workflow_with_problems_is_refused_with_all_of_them(server: Running) -> None:
    data = one("Paint", seed="x", sise=3)
    answer = server.ask("POST", "/api/runs", {"workflow": data})
    assert answer.status == 422
    assert answer.json["code"] == "workflow_refused"
    assert {(p["node"], p["input"]) for p in answer.json["problems"]} == {("it", "seed"), ("it", "sise")}
    unknown = server.ask("POST", "/api/runs", {"workflow": one("Paint"), "targets": ["itt"]})
    assert unknown.status == 422
    assert "Did you mean 'it'?" in unknown.json["problems"][0]["message"]


def test_the_queue_is_paused_reordered_and_cleared(server: Running) -> None:
    assert server.ask("POST", "/api/queue/pause").json["paused"] is True
    try:
        runs = [submit(server, one("Paint", f"run {n}", seed=100 + n))["id"] for n in range(4)]
        assert server.get("/api/queue").json["queued"] == runs
        first = server.ask("POST", f"/api/runs/{runs[3]}/move", {"before": runs[0]})
        assert first.json["position"] == 0
        server.ask("PATCH", f"/api/runs/{runs[2]}", {"priority": 5})
        assert server.get("/api/queue").json["queued"] == [runs[2], runs[3], runs[0], runs[1]]
        assert server.ask("POST", f"/api/runs/{runs[0]}/cancel").json["status"] == "cancelled"
        assert server.ask("PATCH", f"/api/runs/{runs[0]}", {"priority": 5}).status == 409
        assert server.ask("POST", "/api/queue/clear").json == {"cancelled": 3}
        assert server.get("/api/queue").json == {"paused": True, "running": [], "queued": []}
    finally:
        assert server.ask("POST", "/api/queue/resume").json["paused"] is False


def test_a_running_run_is_cancelled(server: Running) -> None:
    run = submit(server, one("Wait", steps=2000))["id"]
    while server.get(f"/api/runs/{run}").json["status"] == "queued":
        time.sleep(0.02)
    answer = server.ask("POST", f"/api/runs/{run}/cancel")
    assert answer.status == 202
    assert ended(server, run, 10)["status"] == "cancelled"


def test_how_long_a_run_takes_is_foretold_from_the_last_ones(server: Running) -> None:
    def two(steps: int) -> dict[str, Any]:
        first, last = ({"type": "Wait", "values": {"steps": count, "seconds": 0.05}} for count in (2, steps))
        return {"format": "nodegraph", "version": 1, "title": "Foretold", "nodes": {"first": first, "last": last}}

    before = ended(server, submit(server, two(20))["id"])
    assert (before["share"], before["left"], before["node"]) == (None, None, None)
    run = submit(server, two(400))["id"]
    deadline = time.monotonic() + 60
    while True:
        now = server.get(f"/api/runs/{run}").json
        if now["node"] == "last" and now["left"] is not None and (now["nodes"]["last"]["step"] or 0) > 0:
            break
        assert time.monotonic() < deadline, now
        time.sleep(0.05)
    assert now["left"] > 5  # 400 steps take longer than the 20 of the last time
    assert 0 <= now["share"] < 0.9
    (listed,) = [one for one in server.get("/api/runs").json["runs"] if one["id"] == run]
    assert listed["share"] >= now["share"]
    assert listed["node"] == "last"
    server.ask("POST", f"/api/runs/{run}/cancel")
    assert ended(server, run)["share"] is None


def test_the_log_of_a_run(server: Running) -> None:
    run = submit(server, one("Say", text="grüezi"))["id"]
    ended(server, run)
    answer = server.get(f"/api/runs/{run}/log")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert "grüezi" in answer.body.decode()


def test_pages_of_runs(server: Running) -> None:
    runs = [submit(server, one("Say", text=f"page {n}"))["id"] for n in range(3)]
    for run in runs:
        ended(server, run)
    page = server.get("/api/runs?limit=2&status=succeeded").json
    assert [run["id"] for run in page["runs"]] == [runs[2], runs[1]]
    rest = server.get(f"/api/runs?limit=1&status=succeeded&before={page['next']}").json
    assert [run["id"] for run in rest["runs"]] == [runs[0]]
    assert server.get("/api/runs?status=lost").status == 422
    assert server.get("/api/runs?limit=0").status == 422


def test_what_is_not_there_is_said_so(server: Running) -> None:
    for path in ("runs/aaaaaaaaaaaa", "runs/aaaaaaaaaaaa/workflow", "runs/aaaaaaaaaaaa/log",
                 "artifacts/aaaaaaaaaaaa", "artifacts/aaaaaaaaaaaa/thumbnail", "artifacts/aaaaaaaaaaaa/workflow"):  # fmt: skip
        answer = server.get(f"/api/{path}")
        assert answer.status == 404
        assert answer.json["code"] == "not_found"
    assert server.ask("POST", "/api/runs/aaaaaaaaaaaa/cancel").status == 404
    assert server.get("/api/runs/..%2F..%2Fetc").status == 422


def test_the_websocket_tells_the_whole_run_in_order(server: Running) -> None:
    async def scenario() -> None:
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session,
            session.ws_connect("/api/events") as socket,
        ):
            (hello,) = await socket.receive_json(timeout=10)
            assert hello["event"] == "hello"
            body = {"workflow": one("Wait", "Watched", steps=3)}
            async with session.post("/api/runs", json=body) as response:
                run = (await response.json())["id"]
            seen: list[dict[str, Any]] = []
            while not any(event["event"] == "finished" and "node" not in event for event in seen):
                seen += [event for event in await socket.receive_json(timeout=30) if event.get("run") == run]
            kinds = [(event["event"], event.get("node")) for event in seen]
            assert kinds[:3] == [("queued", None), ("started", None), ("started", "it")]
            steps = [event["step"] for event in seen if event["event"] == "progress"]
            assert steps[-1] == 3, "progress may be thinned out, never lost"
            assert steps == sorted(set(steps))
            assert kinds[-2:] == [("finished", "it"), ("finished", None)]
            numbers = [event["number"] for event in seen]
            assert numbers == sorted(set(numbers))
            assert all(number > hello["number"] for number in numbers)

    asyncio.run(scenario())


def test_a_saved_workflow_is_told_to_all(server: Running) -> None:
    async def scenario() -> None:
        async with (
            aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session,
            session.ws_connect("/api/events") as socket,
        ):
            await socket.receive_json(timeout=10)
            async with session.put("/api/workflows/told", json={"workflow": one("Wait")}) as response:
                saved = await response.json()
            while True:
                for event in await socket.receive_json(timeout=10):
                    if event["event"] == "workflow":
                        assert (event["name"], event["revision"]) == ("told", saved["revision"])
                        return

    asyncio.run(scenario())


def test_what_a_client_says_on_the_websocket_changes_nothing_and_is_bounded(server: Running) -> None:
    async def scenario() -> None:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as session:
            async with session.ws_connect("/api/events") as socket:
                await socket.receive_json(timeout=10)
                await socket.send_str(json.dumps({"do": "anything"}))
                await socket.send_str("x" * 100_000)
                message = await socket.receive(timeout=10)
                assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
                assert socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
            async with session.get("/health") as response:
                assert response.status == 200

    asyncio.run(scenario())


def test_the_websocket_address_without_a_websocket(server: Running) -> None:
    assert server.get("/api/events").status == 400
    assert server.get("/api/events?after=-1").status == 422
