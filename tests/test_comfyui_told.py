"""What users are told of an import from ComfyUI: in notes, by commands, in other languages, under other names."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from comfyui_made import ADVANCED, API, SAVED, saved, within
from conftest import ROOT

from nodegraph import cli
from nodegraph.comfyui import translated
from nodegraph.comfyui.names import NEAR, comfyui_names
from nodegraph.comfyui.readers import READERS
from nodegraph.comfyui.table import RULES
from nodegraph.errors import CheckError
from nodegraph.home import Home
from nodegraph.options import tell_imported
from nodegraph.registry import Registry
from nodegraph.workflow import Workflow


def test_every_type_that_is_read_is_a_name_of_nodes_here(registry: Registry) -> None:
    names = comfyui_names()
    assert set(names) <= set(registry.catalog.nodes)
    told = {there for all in names.values() for there in all}
    same = {rule.comfy for rule in RULES if rule.comfy == rule.type} | {"LatentBatch"}
    read = {*READERS, *(rule.comfy for rule in RULES)}
    assert told | same == read | NEAR.keys()
    assert not read & NEAR.keys()
    for type, there in {"Sampler": "KSampler", "LoadModel": "CheckpointLoaderSimple"}.items():
        node = {"class_type": there, "inputs": {}}
        assert type in {spec.type for spec in Workflow.parse(json.dumps({"1": node})).nodes.values()}
        assert there in names[type]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_other_names_are_those_of_nodes_that_there_are(registry: Registry, language: str) -> None:
    """What the editor's search knows a node by, besides."""
    words = (ROOT / "web" / "src" / "words" / f"nodes.{language}.ts").read_text("utf-8")
    found = set(re.findall(r'^  "also\.(\w+)":', words, re.MULTILINE))
    assert len(found) > 40
    assert found <= set(registry.catalog.nodes)


def test_every_sentence_of_an_import_is_there_in_chinese() -> None:
    """The editor has them by their English templates, with the same slots."""
    english = {"there is no counterpart here"}
    for path in (ROOT / "nodegraph" / "comfyui").glob("read*.py"):
        for part in ast.walk(ast.parse(path.read_text("utf-8"))):
            said = (
                isinstance(part, ast.Call)
                and isinstance(part.func, ast.Name)
                and part.func.id in ("Said", "Untold")
            )
            put = isinstance(part, ast.Assign) and getattr(part.targets[0], "id", "") in ("told", "sentence")
            if said or put:
                texts = [
                    one for one in ast.walk(part) if isinstance(one, ast.Constant) and isinstance(one.value, str)
                ]
                english |= {str(one.value) for one in (texts[:1] if said else texts) if " " in str(one.value)}
    english.discard("Imported from ComfyUI.")
    lines = (ROOT / "web" / "src" / "words" / "imported.zh.ts").read_text("utf-8").splitlines()
    entries = [line.strip().rstrip(",") for line in lines if line.startswith('  "')]
    chinese: dict[str, str] = json.loads("{" + ",".join(entries) + "}")
    assert len(english) > 30
    assert set(chinese) == english
    for sentence, words in chinese.items():
        assert sorted(re.findall(r"\{\w+\}", words)) == sorted(re.findall(r"\{\w+\}", sentence)), sentence


def test_every_sentence_of_an_export_is_known_in_chinese() -> None:
    english: set[str] = set()
    for path in (ROOT / "nodegraph" / "comfyui").glob("writ*.py"):
        for part in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute) and part.func.attr == "problem":
                assert isinstance(part.args[1], ast.Name | ast.Call), ast.unparse(part)  # never a bare text
            if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "Said":
                english.add(ast.literal_eval(part.args[0]))
    lines = (ROOT / "web" / "src" / "words" / "exported.zh.ts").read_text("utf-8").splitlines()
    chinese: dict[str, str] = json.loads(
        "{" + ",".join(one.strip().rstrip(",") for one in lines if one[:3] == '  "') + "}"
    )
    assert len(english) > 15
    assert set(chinese) == english
    for sentence, words in chinese.items():
        assert sorted(re.findall(r"\{\w+\}", words)) == sorted(re.findall(r"\{\w+\}", sentence)), sentence


PATTERN = "ComfyUI/%date:yyyy-MM-dd%/pic"


def test_commands_say_what_an_import_changed(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODEGRAPH_HOME", str(home.folder))
    styled = {"class_type": "Fancy\x1b[2J", "inputs": {"image": ["8", 0]}}
    save = {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": PATTERN}}
    path = tmp_path / "comfy.json"
    path.write_text(json.dumps({**API, "12": save, "13": styled}))
    with pytest.raises(CheckError, match="no node type is called"):
        cli.check(path)
    out, err = capsys.readouterr()
    assert out == ""
    first, *lines = err.splitlines()
    assert re.fullmatch(r"From ComfyUI; 3 of \d+ nodes are not just as they were:", first)
    assert (
        lines[0] == "  Fancy_2J (Fancy\N{REPLACEMENT CHARACTER}[2J): kept as it was: there is no counterpart here"
    )
    assert lines[1].startswith("  sampler (KSampler): the seed ")
    assert f"the name {PATTERN!r} is no file name here and became 'ComfyUI_%date_yyyy-MM-dd%_pic'" in lines[2]
    assert len(lines) == 3
    with pytest.raises(CheckError):
        cli.app(["run", str(path), "--events"], standalone_mode=False)
    assert capsys.readouterr().err == ""
    with pytest.raises(CheckError):
        cli.app(["run", str(path)], standalone_mode=False)
    assert capsys.readouterr().err == err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("6.text=dog", "'6.text' has ComfyUI's id of the node CLIPTextEncode, which is 'prompt' here; write prompt.text"),
        ("3.cfg=2", "of the node KSampler, which is 'sampler' here with the inputs 'sampler', 'seed', 'guidance_scale'"),
        ("99.text=dog", "'99.text' names no node. There is 'model', "),
    ],
)  # fmt: skip
def test_a_setting_by_an_id_of_comfyui_is_told_its_name_here(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str, words: str
) -> None:
    monkeypatch.setenv("NODEGRAPH_HOME", str(home.folder))
    path = tmp_path / "comfy.json"
    path.write_text(json.dumps(API))
    with pytest.raises(CheckError) as refusal:
        cli.check(path, [setting])
    (told,) = [one for one in map(str, refusal.value.problems) if setting.partition("=")[0] in one]
    assert words in told
    cli.check(path, ["prompt.text=dog"])


def test_what_commands_say_of_an_import_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    many = {str(number): {"class_type": "Fancy" * 50, "inputs": {}} for number in range(200)}
    tell_imported([*translated(many).notes, *translated(API).notes])
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), lines[-1]) == (22, "  and 181 more; the editor lists all of them")
    assert max(map(len, lines)) < 410
    tell_imported(translated({"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a"}}}).notes)
    assert capsys.readouterr().err == ""


def test_what_is_said_of_a_node_has_its_template_and_its_slots() -> None:
    notes = {note.type: note for note in translated(API).notes}
    first, second = notes["KSampler"].said
    assert (first.template, first.slots) == ("as {one} and {other}", {"one": "Sampler", "other": "Schedule"})
    assert second.template.startswith("the seed {seed} is taken modulo 2^53")
    assert second.slots == {"seed": str(2**60 + 5)}
    assert notes["KSampler"].message == f"as Sampler and Schedule; {second}"
    assert str(2**60 + 5) in second


def test_every_node_is_accounted_for() -> None:
    """Also those that are no nodes here: reroutes, values that are written into inputs, notes, uses, and choosers."""
    told = {note.type: (note.node, note.became, note.message) for note in translated(SAVED).notes}
    assert set(told) == {node["type"] for node in SAVED["nodes"]}
    assert told["Reroute"] == (None, "translated", "1 of them: points of the links that they led")
    assert told["Note"] == (None, "translated", "1 of them: notes on the canvas")
    inner = within(
        "u", [{"id": 5, "type": "Unheard", "inputs": [{"name": "a", "link": 1}]}],
        [[1, -10, 0, 5, 0], [2, 5, 0, -20, 0]], inputs=[{"name": "a"}],
    )  # fmt: skip
    uses = [{"id": n, "type": "u", "inputs": [{"name": "a", "link": 9}]} for n in (1, 2)]
    primitive = {"id": 3, "type": "PrimitiveNode", "widgets_values": [7]}
    data = saved(*uses, primitive, links=[[9, 3, 0, 1, 0, "X"]], definitions={"subgraphs": [inner]})
    counted = {note.type: note.message for note in translated(data).notes if note.node is None}
    assert counted == {
        inner.get("name", "u"): "2 of them: the nodes within stand in the place of the subgraph",
        "PrimitiveNode": "1 of them: the value stands in the inputs that they fed",
    }
    parts = {note.type: (note.node, note.message) for note in translated(ADVANCED).notes}
    assert set(parts) == {node["class_type"] for node in ADVANCED.values()}
    assert parts["KSamplerSelect"] == parts["RandomNoise"] == ("sampler", "as a part of sampler")
