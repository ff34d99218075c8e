"""Workflows, templates, checking, planning and import over HTTP, on a real server process."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from comfyui_made import API
from conftest import ROOT
from real_server import PICTURE, Running, running, workflow

from nodegraph import pictures
from nodegraph.serve.documents import WorkflowStore
from nodegraph.serve.refuse import Refused
from nodegraph.workflow import Workflow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("home")) as server:
        yield server


def save(server: Running, name: str, data: dict[str, Any], revision: str | None = None) -> Any:
    body = {"workflow": data} if revision is None else {"workflow": data, "revision": revision}
    return server.ask("PUT", f"/api/workflows/{name.replace(' ', '%20')}", body)


def test_a_workflow_is_saved_and_read(server: Running) -> None:
    saved = save(server, "My first (1)", workflow())
    assert saved.status == 201
    assert (server.home / "workflows" / "My first (1).json").is_file()
    opened = server.get("/api/workflows/My%20first%20(1)")
    assert opened.json["workflow"] == workflow()
    assert opened.json["revision"] == saved.json["revision"]
    listed = {entry["name"]: entry for entry in server.get("/api/workflows").json["workflows"]}
    assert listed["My first (1)"]["title"] == "Text to image"
    assert listed["My first (1)"]["revision"] == saved.json["revision"]


NAMES = [
    "मेरा चित्र", "क्‍षेत्र", "ภาพที่หนึ่ง", "می‌خواهم", "תמונה שלי", "বৃষ্টি", "தமிழ்", "Käse", "日本", "한글 2",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_any_script_is_a_name(server: Running, name: str) -> None:
    address = f"/api/workflows/{quote(name)}"
    assert server.ask("PUT", address, {"workflow": workflow()}).json["name"] == name
    assert (server.home / "workflows" / f"{name}.json").is_file()
    assert server.get(address).json["name"] == name
    listed = [entry["name"] for entry in server.get("/api/workflows").json["workflows"]]
    assert name in listed
    back = server.ask("POST", f"/api/trash/{server.ask('DELETE', address).json['id']}/restore")
    assert back.json["name"] == name
    picture = server.ask(
        "POST", f"/api/uploads?name={quote(name)}.png", headers={"Content-Type": "image/png"}, content=PICTURE
    )
    assert picture.json["name"] == f"{name}.png"


def test_two_tabs_do_not_overwrite_each_other(server: Running) -> None:
    first = save(server, "shared", workflow()).json["revision"]
    one, other = workflow(), workflow()
    one["title"], other["title"] = "One", "Other"
    assert save(server, "shared", one, first).status == 200
    lost = save(server, "shared", other, first)
    assert lost.status == 409
    assert lost.json["code"] == "conflict"
    assert "changed elsewhere" in lost.json["message"]
    assert save(server, "shared", other).status == 409, "a new name never replaces"
    assert server.get("/api/workflows/shared").json["workflow"]["title"] == "One"


def test_saving_the_same_again_changes_nothing(server: Running) -> None:
    first = save(server, "same", workflow()).json
    again = save(server, "same", workflow(), "of another time")
    assert again.status == 200
    assert again.json == first


def test_a_file_edited_outside_counts_as_a_change(server: Running) -> None:
    revision = save(server, "outside", workflow()).json["revision"]
    path = server.home / "workflows" / "outside.json"
    path.write_text(path.read_text("utf-8").replace("Text to image", "Edited"), "utf-8")
    changed = workflow()
    changed["title"] = "Mine"
    assert save(server, "outside", changed, revision).status == 409
    assert server.get("/api/workflows/outside").json["workflow"]["title"] == "Edited"


def test_rename_never_replaces(server: Running) -> None:
    save(server, "from", workflow())
    save(server, "to", {**workflow(), "title": "Kept"})
    assert server.ask("POST", "/api/workflows/from/rename", {"name": "to"}).status == 409
    assert server.get("/api/workflows/to").json["workflow"]["title"] == "Kept"
    assert server.ask("POST", "/api/workflows/from/rename", {"name": "moved"}).json["name"] == "moved"
    assert server.get("/api/workflows/from").status == 404
    assert server.get("/api/workflows/moved").status == 200
    assert server.ask("POST", "/api/workflows/none/rename", {"name": "x"}).status == 404


def test_deleted_workflows_come_back(server: Running) -> None:
    save(server, "precious", workflow())
    gone = server.ask("DELETE", "/api/workflows/precious").json
    assert server.get("/api/workflows/precious").status == 404
    assert server.ask("DELETE", "/api/workflows/precious").status == 404
    assert gone["id"] in {entry["id"] for entry in server.get("/api/trash").json["workflows"]}
    save(server, "precious", {**workflow(), "title": "Its successor"})
    back = server.ask("POST", f"/api/trash/{gone['id']}/restore").json
    assert back["name"] == "precious (2)"
    assert server.get("/api/workflows/precious%20(2)").json["workflow"] == workflow()
    assert server.ask("POST", f"/api/trash/{gone['id']}/restore").status == 404


def test_a_broken_file_is_listed_with_what_is_wrong(server: Running) -> None:
    folder = server.home / "workflows"
    folder.mkdir(exist_ok=True)
    (folder / "broken.json").write_text("{", "utf-8")
    listed = {entry["name"]: entry for entry in server.get("/api/workflows").json["workflows"]}
    assert "not JSON" in listed["broken"]["problem"]
    answer = server.get("/api/workflows/broken")
    assert answer.status == 422
    assert answer.json["code"] == "workflow_refused"


def test_a_document_that_is_none_is_not_stored(server: Running) -> None:
    answer = save(server, "none", {"format": "nodegraph", "version": 1, "nodez": {}})
    assert answer.status == 422
    assert "nodez" in answer.json["message"]
    assert not (server.home / "workflows" / "none.json").exists()


def test_check_names_node_and_input(server: Running) -> None:
    data = workflow()
    data["nodes"]["sampler"]["values"]["seed"] = "seven"
    data["nodes"]["schedule"]["type"] = "Schedul"
    problems = server.ask("POST", "/api/check", {"workflow": data}).json["problems"]
    where = {(problem["node"], problem["input"]) for problem in problems}
    assert {("sampler", "seed"), ("schedule", None)} <= where
    assert any("Did you mean 'Schedule'" in problem["message"] for problem in problems)
    assert server.ask("POST", "/api/check", {"workflow": workflow()}).json == {"problems": []}
    values = {"sampler.seed": -1}
    assert server.ask("POST", "/api/check", {"workflow": workflow(), "values": values}).json["problems"]


def test_a_size_that_the_model_does_not_paint_is_a_problem_before_the_run(server: Running) -> None:
    body = {"workflow": workflow(), "values": {"blank.height": 512}}
    for path, status in (("/api/check", 200), ("/api/runs", 422)):
        answer = server.ask("POST", path, body)
        assert answer.status == status
        (problem,) = answer.json["problems"]
        assert (problem["node"], problem["input"]) == ("blank", "height")
        assert "emoji paints 64 x 64 pixels alone" in problem["message"]


def test_check_reports_a_document_that_is_none(server: Running) -> None:
    answer = server.ask("POST", "/api/check", {"workflow": {"format": "other"}})
    assert answer.status == 200
    assert "not a workflow" in answer.json["problems"][0]["message"]


def test_plan_gives_order_and_keys(server: Running) -> None:
    planned = server.ask("POST", "/api/plan", {"workflow": workflow(), "targets": ["schedule"]}).json
    assert [entry["node"] for entry in planned["nodes"]] == ["model", "schedule"]
    assert all(re.fullmatch("[0-9a-f]{40}", entry["key"]) for entry in planned["nodes"])
    assert planned["targets"] == ["schedule"]
    refused = server.ask("POST", "/api/plan", {"workflow": {**workflow(), "nodes": {}, "layout": {}}})
    assert refused.status == 422
    assert refused.json["code"] == "workflow_refused"


def test_templates_are_the_shipped_workflows(server: Running) -> None:
    shipped = {p.relative_to(ROOT / "workflows").with_suffix("").as_posix(): p
               for p in (ROOT / "workflows").rglob("*.json")}  # fmt: skip
    templates = {entry["name"]: entry for entry in server.get("/api/templates").json["templates"]}
    assert set(templates) == set(shipped)
    for name, path in shipped.items():
        assert server.get(f"/api/templates/{name}").json["workflow"] == json.loads(path.read_text("utf-8"))
        assert templates[name]["title"]
        picture = templates[name]["picture"]
        if picture is not None:
            answer = server.get(picture)
            assert answer.headers["Content-Type"] == "image/webp"
            assert pictures.decode(answer.body).shape[2] <= 480
    assert templates["text_to_image"]["picture"]
    assert server.get("/api/templates/no/such").status == 404


def test_import_reads_json_and_pictures_that_carry_a_workflow(server: Running, tmp_path: Path) -> None:
    text = json.dumps(workflow()).encode()
    as_json = server.ask("POST", "/api/import", headers={"Content-Type": "application/json"}, content=text)
    assert as_json.json == {"workflow": workflow(), "receipt": None, "nodes": [], "seeds": {}}
    import numpy as np

    metadata = {"nodegraph": text.decode(), "nodegraph-receipt": '{"node": "save"}'}
    png = pictures.encode_png(np.zeros((3, 8, 8), np.float32), metadata)
    as_png = server.ask("POST", "/api/import", headers={"Content-Type": "image/png"}, content=png)
    assert as_png.json == {"workflow": workflow(), "receipt": {"node": "save"}, "nodes": [], "seeds": {}}
    bare = pictures.encode_png(np.zeros((3, 8, 8), np.float32))
    refused = server.ask("POST", "/api/import", headers={"Content-Type": "image/png"}, content=bare)
    assert refused.status == 422
    assert "carries no workflow" in refused.json["message"]


def test_nodes_and_models_and_system(server: Running) -> None:
    nodes = server.get("/api/nodes").json
    assert {"LoadModel", "Encode", "Schedule", "Sampler", "VAEDecode", "MaskInpaint"} <= set(nodes["nodes"])
    kinds = server.get("/api/models").json["kinds"]
    assert {"name": "emoji", "bytes": None, "modified": None, "builtin": True} in kinds["checkpoints"]
    assert "images/sketch.png" in {entry["name"] for entry in kinds["images"]}
    system = server.get("/api/system").json
    assert system["home"] == str(server.home)
    assert system["disk"]["total"] > system["disk"]["free"] > 0


def test_metrics_are_prometheus_text(server: Running) -> None:
    server.get("/api/templates")
    assert server.ask("PROPFIND", "/api/templates").status == 405
    answer = server.get("/metrics")
    assert b"PROPFIND" not in answer.body
    assert b'requests_total{method="none",route="none",status="405"}' in answer.body
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    sample = re.compile(r'[a-z_]+(\{[a-z_]+="[^"\n]*"(,[a-z_]+="[^"\n]*")*\})? -?[0-9.e+-]+')
    lines = answer.body.decode().splitlines()
    assert lines
    assert all(line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line) for line in lines)
    counted = [line for line in lines if 'route="/api/templates"' in line and "requests_total" in line]
    assert counted
    assert float(counted[0].split()[-1]) >= 1


def test_a_workflow_of_comfyui_is_imported_with_what_became_of_each_node(server: Running) -> None:
    data = {**API, "10": {"class_type": "FancyStyler", "inputs": {"samples": ["3", 0], "power": 2}}}
    answer = server.ask("POST", "/api/import", data).json
    assert answer["workflow"]["nodes"]["FancyStyler"]["values"] == {"power": 2}
    nodes = [(one["node"], one["type"], one["became"]) for one in answer["nodes"]]
    assert nodes[0] == ("FancyStyler", "FancyStyler", "kept")
    assert nodes[1] == ("sampler", "KSampler", "adjusted")
    assert "modulo 2^53" in answer["nodes"][1]["message"]
    assert {became for _, _, became in nodes[2:]} == {"translated"}
    assert {node for node, _, _ in nodes} | {"schedule"} == set(answer["workflow"]["nodes"])
    assert server.ask("POST", "/api/import", workflow()).json["nodes"] == []


def test_many_nodes_of_comfyui_are_told_of_in_a_bounded_list(server: Running) -> None:
    data = {str(n): {"class_type": "FancyStyler", "inputs": {}} for n in range(1500)}
    told = server.ask("POST", "/api/import", data).json["nodes"]
    assert len(told) == 1001
    assert (told[-1]["node"], told[-1]["message"]) == (None, "and 500 more nodes")


def test_a_workflow_is_exported_for_comfyui_with_what_it_cannot_say(server: Running) -> None:
    body = {"workflow": workflow(), "values": {"sampler.seed": 5}}
    answer = server.ask("POST", "/api/export/comfyui", body).json
    types = {node["class_type"]: node["inputs"] for node in answer["prompt"].values()}
    assert types["KSampler"]["seed"] == 5
    where = {(problem["node"], problem["input"]) for problem in answer["problems"]}
    assert {("model", "checkpoint"), ("grid", None)} <= where
    back = server.ask("POST", "/api/import", answer["prompt"]).json["workflow"]
    assert back["nodes"]["sampler"]["values"]["seed"] == 5
    broken = server.ask("POST", "/api/export/comfyui", {"workflow": {"format": "other"}})
    assert (broken.status, broken.json["code"]) == (422, "workflow_refused")
    nowhere = server.ask("POST", "/api/export/comfyui", {"workflow": workflow(), "values": {"nobody.seed": 5}})
    assert (nowhere.status, nowhere.json["problems"][0]["message"][:20]) == (422, "'nobody.seed' names "[:20])


def test_a_workflow_that_is_deleted_while_it_is_read_is_found_or_is_not(tmp_path: Path) -> None:
    store = WorkflowStore(tmp_path / "workflows", tmp_path / "trash")
    document = Workflow.from_data(workflow())
    store.save("one", document, None)
    over = threading.Event()

    def away_and_back() -> None:
        for _ in range(300):
            store.restore(store.delete("one").id)
        over.set()

    said = set()
    with ThreadPoolExecutor(1) as other:
        going = other.submit(away_and_back)
        while not over.is_set() and not going.done():
            try:
                said.add(store.read("one").name)
            except Refused as refused:
                said.add(refused.message)
        going.result()
    assert said <= {"one", "there is no workflow 'one'"}


def test_long_names_in_any_script_are_restored_and_uploaded(server: Running) -> None:
    long = f"/api/workflows/{'x' * 200}"
    assert server.ask("PUT", long, {"workflow": workflow()}).status == 201
    assert server.get(long).status == 200
    assert server.ask("PUT", f"{long}x", {"workflow": workflow()}).status == 422
    name = "你" * 66  # 198 bytes; 200 may be
    address = f"/api/workflows/{quote(name)}"
    assert server.ask("PUT", address, {"workflow": workflow()}).status == 201
    trashed = server.ask("DELETE", address).json
    assert server.ask("PUT", address, {"workflow": workflow()}).status == 201
    restored = server.ask("POST", f"/api/trash/{trashed['id']}/restore")
    assert (restored.status, restored.json["name"]) == (200, "你" * 65 + " (2)")
    uploaded = server.ask(
        "POST",
        f"/api/uploads?name={quote('照' * 80)}.png",
        content=PICTURE,
        headers={"Content-Type": "image/png"},
    )
    assert (uploaded.status, uploaded.json["name"]) == (201, "照" * 66 + ".png")
