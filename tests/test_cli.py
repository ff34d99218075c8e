"""The command line as its users have it: a process, its output, its exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from conftest import YOURS

from nodegraph.carried import WORKFLOW_TEXT
from nodegraph.home import Home
from nodegraph.pictures import decode, encode_png
from nodegraph.workflow import Workflow

if TYPE_CHECKING:
    from conftest import Shell

PLUGIN = '''
from nodegraph import Context, node

@node(category="mine")
def Nap(context: Context, steps: int = 1000) -> int:
    """Wait, step by step."""
    import time
    for _ in context.track(range(steps)):
        time.sleep(0.05)
    return steps

@node(category="mine")
def Break() -> int:
    """Raise."""
    raise KeyError("deep inside")
'''


PURPOSEFUL = '''from nodegraph import node
def burn(list):
    try: list[3]
    except IndexError as error:
        raise ValueError("the glow burnt out at step 3") from error

@node
def Glow() -> int:
    """Raise with words."""
    return burn([])
'''


def document(**nodes: Any) -> str:
    return json.dumps({"format": "nodegraph", "version": 1, "nodes": nodes})


def picture_workflow(value: float = 0.5) -> str:
    """A picture without any model."""
    return document(
        mask={"type": "MaskFromShape", "values": {"width": 32, "height": 24, "size_x": value}},
        image={"type": "MaskToImage", "links": {"mask": {"node": "mask", "output": "mask"}}},
        save={"type": "SaveImage", "values": {"name": "shape"}, "links": {"image": {"node": "image", "output": "image"}}},
    )  # fmt: skip


def test_run_writes_a_picture_and_prints_its_path(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(picture_workflow())
    done = shell("run", "w.json", "--output", "pictures", "--set", "mask.size_x=0.25")
    assert (done.returncode, done.stdout) == (0, f"pictures{os.sep}shape-0001.png\n"), done.stderr
    assert "save: finished" in done.stderr
    path = tmp_path / "pictures" / "shape-0001.png"
    assert decode(path.read_bytes())[:, 12].mean() == 0.25
    carried = Workflow.load(path)
    assert carried.nodes["mask"].values["size_x"] == 0.25
    again = shell("run", path, "--output", "again")
    assert again.returncode == 0
    assert (
        decode((tmp_path / "again" / "shape-0001.png").read_bytes()).tolist() == decode(path.read_bytes()).tolist()
    )


def test_every_command_that_runs_or_looks_at_results_takes_the_same_setup(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "more" / "loras").mkdir(parents=True)
    (tmp_path / "more" / "checkpoints").mkdir()
    (tmp_path / "more" / "loras" / "my_lora.safetensors").write_bytes(b"its content is part of the key")
    (tmp_path / "more" / "checkpoints" / "sd_xl_base_1.0.safetensors").write_bytes(b"so is this")
    asked = ("explain-cache", YOURS / "sdxl_lora.json")
    assert "model.checkpoint: there is no 'sd_xl_base_1.0.safetensors'" in shell(*asked).stderr
    told = shell(*asked, "--models", "more")
    assert "sampler: not cached: it has not run here" in told.stdout, told.stdout + told.stderr
    assert told.returncode == 0
    for command in ("run", "grid", "verify", "explain-cache"):
        words = shell(command, "--help", COLUMNS="120").stdout
        assert all(option in words for option in ("--device", "--dtype", "--compile", "--plugins", "--models"))


def test_a_training_in_a_pipe_says_how_far_it_is(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    nodes: dict[str, Any] = {
        "data": {"type": "DatasetDigits"},
        "train": {
            "type": "TrainVAE",
            "values": {"steps": 3, "batch_size": 4, "channels": 1, "width": 32},
            "links": {"dataset": {"node": "data", "output": "dataset"}},
        },
    }
    path.write_text(document(**nodes))
    done = shell("run", path)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("train: step")]
    assert [line.partition(": loss")[0] for line in told] == [f"train: step {step} of 3" for step in (1, 2, 3)]


def test_a_grid_can_leave_the_cache_alone(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(picture_workflow())
    done = shell("grid", "w.json", "--x", "mask.size_x=0.25,0.5", "--no-cache")
    assert len(done.stdout.splitlines()) == 3, done.stderr
    assert ": 0 results" in shell("cache", "info").stdout
    assert shell("grid", "w.json", "--x", "mask.size_x=0.25,0.5", "--cache-dir", "kept").returncode == 0
    assert ": 0 results" in shell("cache", "info").stdout
    assert (tmp_path / "kept" / "index.sqlite").is_file()


def test_what_is_only_shown_can_be_looked_at(shell: Shell, tmp_path: Path) -> None:
    shown = json.loads(picture_workflow())
    shown["nodes"]["show"] = {**shown["nodes"].pop("save"), "type": "PreviewImage", "values": {}}
    (tmp_path / "w.json").write_text(json.dumps(shown))
    done = shell("run", "w.json", "--output", "pictures")
    (path,) = (tmp_path / "pictures").rglob("*.png")
    assert path.parent.name == "previews"
    assert done.stdout == f"{path.relative_to(tmp_path)}\n", done.stderr
    assert decode(path.read_bytes()).shape == (3, 24, 32)  # whole, and no thumbnail
    assert Workflow.load(path).nodes["show"].type == "PreviewImage"
    again = shell("run", "w.json", "--output", "pictures")
    assert again.stdout == done.stdout
    assert list((tmp_path / "pictures").rglob("*.*")) == [path]
    other = shell("run", "w.json", "--output", "pictures", "--set", "mask.size_x=0.25")
    assert other.stdout not in ("", done.stdout)
    verified = shell("verify", path)
    assert (verified.returncode, verified.stdout.splitlines()[-1]) == (0, "the pixels are identical")


def test_a_run_counts_the_start_of_the_program_too(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(picture_workflow())
    began = time.monotonic()
    done = shell("run", "w.json")
    whole = time.monotonic() - began
    last, run = (line.split() for line in done.stderr.splitlines()[:-3:-1])
    assert run[:2] == ["finished", "in"]
    assert last[1:] == ["s", "in", "all,", "with", "the", "start", "of", "the", "program"]
    assert float(run[2]) < float(last[0]) < whole + 0.05  # the clocks differ by a tick


def test_events_are_json_lines(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(picture_workflow())
    done = shell("run", "w.json", "--events")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert told[0] == {"event": "started", "total": 3}
    assert [entry["node"] for entry in told if entry["event"] == "started" and "node" in entry] == [
        "mask",
        "image",
        "save",
    ]
    assert told[-1]["event"] == "finished"
    assert "node" not in told[-1]
    assert [Path(path).name for path in told[-1]["files"]] == ["shape-0001.png"]


NOISY = """
import os
import re
from nodegraph import node

def noise(where):
    print("python", where)
    os.write(1, f"descriptor {where}\\n".encode())
    os.system(f"echo child {where}")

noise("imported")

@node(category="test", effect="always")
def Chatter() -> None:
    'Print.'
    noise("run")
"""


def test_what_plugins_print_is_no_event(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "noisy.py").write_text(NOISY)
    (tmp_path / "w.json").write_text(document(n={"type": "Chatter"}))
    done = shell("run", "w.json", "--plugins", "plugins", "--events")
    told = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert told == ["started", "started", "finished", "finished"]
    for who in ("python", "descriptor", "child"):
        assert f"{who} imported\n" in done.stderr
        assert f"{who} run\n" in done.stderr
    plain = shell("run", "w.json", "--plugins", "plugins")
    assert "python run\n" in plain.stdout
    listed = shell("nodes", "--json", "--plugins", "plugins")
    assert "Chatter" in json.loads(listed.stdout)["nodes"]


CYCLE = document(
    a={"type": "Not", "links": {"value": {"node": "b", "output": "value"}}},
    b={"type": "Not", "links": {"value": {"node": "a", "output": "value"}}},
)
BROKEN: dict[str, tuple[str | bytes, list[str]]] = {
    "cycle": (CYCLE, ["wait for each other"]),
    "missing link": (document(a={"type": "Not", "links": {"value": {"node": "x", "output": "value"}}}), ["a.value", "no node 'x'"]),
    "wrong type": (document(n={"type": "Number"}, a={"type": "Not", "links": {"value": {"node": "n", "output": "value"}}}), ["a.value", "needs a bool", "float"]),
    "unknown type": (document(a={"type": "Samplr"}), ["a:", "Did you mean 'Sampler'?"]),
    "out of range": (document(a={"type": "Seed", "values": {"value": -1}}), ["a.value", "at least 0"]),
    "brackets": ("[" * 900_000, ["nested too deeply"]),
    "duplicate ids": ('{"format": "nodegraph", "version": 1, "nodes": {"a": {"type": "Number"}, "a": {"type": "Number"}}}', ["given twice"]),
    "truncated png": (encode_png(torch.rand(3, 64, 64), {WORKFLOW_TEXT: "{}"})[:700], ["damaged"]),
    "what a terminal obeys": (document(a={"type": "Noise", "values": {"\x1b]0;x": 5}}), ["]0;x", "no such input"]),
    "the same in an id": (document(**{"\x1b]0;x": {"type": "Noise"}}), ["]0;x"]),
    "no such picture": (document(a={"type": "LoadImage", "values": {"image": "gone.png"}}), ["a.image", "gone.png"]),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("command", ["check", pytest.param("run", marks=pytest.mark.slow)])
def test_what_cannot_run_is_refused_with_words(shell: Shell, tmp_path: Path, command: str, name: str) -> None:
    content, words = BROKEN[name]
    path = tmp_path / "broken"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = shell(command, path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert "\x1b]0;" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


OBEYED = "\x1b]0;x\x07\x9b2J"
OBEYING = f"""
from nodegraph import node

@node(category="test")
def Odd() -> int:
    {OBEYED!r}
    return 1
"""


def test_nothing_that_a_terminal_obeys_is_printed(shell: Shell, tmp_path: Path) -> None:
    """Names of files, ids of workflows, words of plugins: whatever others chose."""
    plugins, loras = tmp_path / "home" / "plugins", tmp_path / "home" / "models" / "loras"
    plugins.mkdir(parents=True)
    loras.mkdir(parents=True)
    (plugins / "odd.py").write_text(OBEYING, "utf-8")
    (plugins / "bad.py").write_text(f"raise ValueError({OBEYED!r})", "utf-8")
    (loras / f"{OBEYED}.safetensors").write_bytes(b"")
    for name, type in (("a", "Noise"), ("b", "Sampler")):
        (tmp_path / name).write_text(document(**{OBEYED: {"type": type}}))
    listed = [shell(*command) for command in (("nodes",), ("nodes", "--json"), ("models",), ("models", "--json"))]
    listed.append(shell("diff", tmp_path / "a", tmp_path / "b"))
    for done in listed:
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout + done.stderr), done.args
    words = [done.stdout + done.stderr for done in listed]
    assert "Odd" in words[0]
    assert "could not be imported" in words[0]
    assert json.loads(listed[1].stdout)["nodes"]["Odd"]["doc"] == OBEYED
    assert "\N{REPLACEMENT CHARACTER}]0;x" in words[2]
    assert OBEYED in [
        json.loads(line)["name"].removesuffix(".safetensors") for line in listed[3].stdout.splitlines()
    ]
    assert "\N{REPLACEMENT CHARACTER}]0;x" in words[4]


TOLD = f"""
import os
from nodegraph import Context, node

@node(category="test", effect="always")
def Tell(context: Context, text: str = "") -> None:
    "Tell in all ways, and fail."
    context.progress(1, 2, {OBEYED!r} + text)
    raise ValueError({OBEYED!r} + text)

os.chdir("/")
"""


def test_nor_is_it_in_events_in_warnings_and_in_what_is_exported(shell: Shell, tmp_path: Path) -> None:
    """Programs read from the JSON what was there."""
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / f"tell{OBEYED}.py").write_text(TOLD, "utf-8")
    (tmp_path / "w.json").write_text(document(t={"type": "Tell", "values": {"text": OBEYED}}))
    ran = shell("run", "w.json", "--plugins", "plugins", "--events")
    plain = shell("run", "w.json", "--plugins", "plugins")
    exported = shell("export-comfyui", "w.json", "--plugins", "plugins", "--partly")
    for done in (ran, plain, exported):
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.stdout + done.stderr), done.args
    told = [json.loads(line) for line in ran.stdout.splitlines()]
    assert told[2]["note"] == OBEYED * 2
    assert re.search(r"importing .*tell.\]0;x.* changed the working folder", plain.stderr), plain.stderr
    (node,) = json.loads(exported.stdout).values()
    assert node["inputs"]["text"] == OBEYED


def test_nor_in_what_the_server_warns_of(tmp_path: Path) -> None:
    code = (
        "import logging, sys; from pathlib import Path; from nodegraph.serve.logs import set_up\n"
        f"set_up(Path()); logging.getLogger('nodegraph.serve').warning('run %s', {OBEYED!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (
        done.stderr
        == "WARNING: run \N{REPLACEMENT CHARACTER}]0;x\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}2J\n"
    )
    assert json.loads((tmp_path / "server.log").read_text("utf-8"))["message"] == f"run {OBEYED}"


def test_a_file_that_is_not_there(shell: Shell) -> None:
    done = shell("run", "nowhere.json")
    assert (done.returncode, "cannot read nowhere.json" in done.stderr) == (2, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("setting", "words"),
    [("mask", "node.input=value"), ("mask.size_x=wide", "mask.size_x: 'wide' does not fit; give a number"), ("mosk.size_x=1", "Did you mean 'mask'?")],
)  # fmt: skip
def test_a_setting_that_makes_no_sense(shell: Shell, tmp_path: Path, setting: str, words: str) -> None:
    (tmp_path / "w.json").write_text(picture_workflow())
    done = shell("run", "w.json", "--set", setting)
    assert done.returncode == 2
    assert words in done.stderr


def test_check_is_quick_and_imports_no_torch(tmp_path: Path, shell: Shell) -> None:
    (tmp_path / "w.json").write_text(picture_workflow())
    assert shell("check", "w.json").returncode == 0  # writes the catalog
    code = (
        "import sys\nfrom nodegraph.cli import app\n"
        "try:\n    app(['check', 'w.json'])\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'torch', 'networkx', 'nodegraph.nodes.images'} & set(sys.modules), 'imported too much'"
    )
    environment = {**os.environ, "NODEGRAPH_HOME": str(tmp_path / "home")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_the_size_of_the_embedded_model_is_checked_without_torch(home: Home) -> None:
    workflow = Workflow.load(Path(__file__).parent.parent / "workflows" / "text_to_image.json")
    asked = workflow.with_values({"blank.width": 512})
    code = (
        "import sys; from nodegraph.catalog import load_catalog; from nodegraph.check import check\n"
        "from nodegraph.home import Home; from nodegraph.workflow import Workflow\n"
        "home = Home.of_user(); files = home.files(output=home.folder)\n"
        "checked = check(Workflow.parse(sys.stdin.read()), load_catalog(home.cache, []), files)\n"
        "print(*checked.problems); print('torch' in sys.modules)"
    )
    environment = {**os.environ, "NODEGRAPH_HOME": str(home.folder)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        input=asked.dump(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr
    assert "blank.width: is 512, but emoji paints 64 x 64 pixels alone" in done.stdout


def test_import_nodegraph_imports_no_torch() -> None:
    code = "import sys, nodegraph; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_failing_node_ends_with_status_1(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(PLUGIN)
    (tmp_path / "w.json").write_text(document(b={"type": "Break"}))
    done = shell("run", "w.json", "--plugins", "plugins")
    assert done.returncode == 1
    words, line = done.stderr.splitlines()[-2:]
    assert words == "b (Break): KeyError: 'deep inside'"
    assert line.startswith(f"  KeyError at {tmp_path / 'plugins' / 'mine.py'}, line ")
    assert line.endswith(': raise KeyError("deep inside")')
    assert "Traceback" not in done.stderr


def test_a_plugin_that_raises_on_purpose_is_told_its_line_and_the_way_to_it(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(PURPOSEFUL)
    (tmp_path / "w.json").write_text(document(b={"type": "Glow"}))
    done = shell("run", "w.json", "--plugins", "plugins", "--events")
    failed = next(event for event in map(json.loads, done.stdout.splitlines()) if event["event"] == "failed")
    assert failed["message"] == "the glow burnt out at step 3"
    assert failed["raised"]["exception"] == "ValueError"
    assert failed["raised"]["at"] == 'mine.py, line 5: raise ValueError("the glow burnt out at step 3") from error'
    assert "in Glow" in failed["raised"]["traceback"]
    assert "IndexError" in failed["raised"]["traceback"]  # what it was raised from
    assert str(tmp_path) not in done.stdout
    words, line, *way = shell("run", "w.json", "--plugins", "plugins", "--traceback").stderr.splitlines()[2:]
    assert words == "b (Glow): the glow burnt out at step 3"
    assert "ValueError at " in line
    assert sum("Traceback" in one for one in way) == 2
    assert "site-packages" not in "".join(way)
    assert "execute.py" not in "".join(way)


STOPPING = """
from nodegraph import Context, node

@node(category="test", effect="files")
def Stop(context: Context) -> None:
    "Write a file, and stop."
    context.save("whole", ".bin", b"whole")
    raise KeyboardInterrupt
"""


def test_a_node_that_interrupts_is_named_and_what_it_wrote_is_whole(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(STOPPING)
    (tmp_path / "w.json").write_text(document(s={"type": "Stop"}))
    done = shell("run", "w.json", "--plugins", "plugins")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (130, "s (Stop): interrupted (KeyboardInterrupt)")
    assert "Traceback" not in done.stderr
    told = [
        json.loads(line) for line in shell("run", "w.json", "--plugins", "plugins", "--events").stdout.splitlines()
    ]
    assert [(one["event"], one.get("node")) for one in told[2:]] == [("failed", "s"), ("failed", None)]
    (written,) = (tmp_path / "out").glob("*.bin")  # what the first run had saved is not saved twice
    assert (written.name, written.read_bytes()) == ("whole-0001.bin", b"whole")
    assert not list((tmp_path / "out").glob(".nodegraph-*"))


def test_a_built_in_node_that_refuses_says_so_without_a_line(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(
        document(b={"type": "Calculate", "values": {"a": 1.5, "b": 0, "operation": "divide"}})
    )
    done = shell("run", "w.json")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("b (Calculate): ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("held_back", ["", "1"])
@pytest.mark.parametrize("command", [["nodes"], ["nodes", "--json"], ["version"], ["--help"]])
def test_a_full_disk_under_the_output_is_one_line(home: Home, command: list[str], held_back: str) -> None:
    environment = {**os.environ, "NODEGRAPH_HOME": str(home.folder), "PYTHONUNBUFFERED": held_back}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "nodegraph", *command], stdout=full, stderr=subprocess.PIPE, text=True,
            env=environment, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last == "cannot write the output: No space left on device"
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("held_back", ["", "1"])
def test_a_full_disk_under_the_log_ends_no_run(home: Home, tmp_path: Path, held_back: str) -> None:
    (tmp_path / "w.json").write_text(picture_workflow())
    environment = {**os.environ, "NODEGRAPH_HOME": str(home.folder), "PYTHONUNBUFFERED": held_back}

    def status(*command: str) -> int:
        with Path("/dev/full").open("w") as full:
            return subprocess.run(
                [sys.executable, "-m", "nodegraph", *command], stdout=subprocess.PIPE, stderr=full, env=environment,
                cwd=tmp_path, timeout=120, check=False,
            ).returncode  # fmt: skip

    assert status("run", "w.json") == 0
    assert (tmp_path / "out" / "shape-0001.png").is_file()
    assert status("check", "w.json", "--set", "mask.size_x=wide") == 2


@pytest.mark.parametrize("held_back", ["", "1"])
def test_a_reader_that_leaves_early_is_no_error(home: Home, held_back: str) -> None:
    environment = {**os.environ, "NODEGRAPH_HOME": str(home.folder), "PYTHONUNBUFFERED": held_back}
    process = subprocess.Popen(
        [sys.executable, "-m", "nodegraph", "nodes", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(60) == 1
    process.stderr.close()


def test_a_file_that_cannot_be_written_is_named(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(picture_workflow())
    done = shell("export-comfyui", "w.json", "--partly", "--output", "none/w.json")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"none{os.sep}w.json: No such file or directory"


def test_ctrl_c_cancels_cleanly(home: Home, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(PLUGIN)
    (tmp_path / "w.json").write_text(document(b={"type": "Nap"}))
    child = subprocess.Popen(
        [sys.executable, "-m", "nodegraph", "run", "w.json", "--plugins", "plugins", "--events"],
        cwd=tmp_path,
        env={**os.environ, "NODEGRAPH_HOME": str(home.folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if json.loads(line)["event"] == "progress":
            break
    child.send_signal(signal.SIGINT)
    rest, errors = child.communicate(timeout=30)
    assert child.returncode == 130
    assert json.loads(rest.splitlines()[-1]) == {"event": "cancelled"}
    assert "Traceback" not in errors


@pytest.mark.parametrize(("given", "words"), [("nowhere", "does not exist"), ("mine.py", "is a file")])
def test_what_is_no_plugin_folder_is_refused(shell: Shell, tmp_path: Path, given: str, words: str) -> None:
    (tmp_path / "w.json").write_text(picture_workflow())
    (tmp_path / "mine.py").write_text(PLUGIN)
    done = shell("check", "w.json", "--plugins", given)
    assert done.returncode == 2
    assert f"'{given}' {words}" in " ".join(done.stderr.replace("│", " ").split())


def test_nodes_lists_types_and_broken_plugins(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "broken.py").write_text("import nothing_like_it")
    done = shell("nodes", "--plugins", "plugins")
    assert "Sampler" in done.stdout
    assert "nothing_like_it" in done.stderr
    listed = json.loads(shell("nodes", "--json").stdout)
    assert listed["nodes"]["Sampler"]["category"] == "sampling"


def test_a_plugin_that_ends_the_program_ends_no_run(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "fatal.py").write_text("import os\nos._exit(7)")
    nodes = {"text": {"type": "Text", "values": {"text": "still here"}}}
    (tmp_path / "w.json").write_text(json.dumps({"format": "nodegraph", "version": 1, "nodes": nodes}))
    done = shell("run", "w.json", "--plugins", "plugins")
    assert done.returncode == 0, done.stderr
    assert done.stdout == 'text.value = "still here"\n'
    told = f"no plugin is imported, for {tmp_path / 'plugins' / 'fatal.py'}: importing ended with exit status 7: "
    assert told in done.stderr


def test_a_new_plugin_works_and_passes_its_own_test(shell: Shell, tmp_path: Path) -> None:
    assert shell("plugin", "new", "sunny_nodes").stdout == "sunny_nodes\n"
    folder = tmp_path / "sunny_nodes"
    assert 'pip install -e ".[test]"' in (folder / "README.md").read_text()
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"] == {"test": ["pytest"]}
    own = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in own.stdout, own.stdout
    assert "SunnyNodesPosterize" in shell("nodes", "--plugins", folder).stdout
    again = shell("plugin", "new", "sunny_nodes")
    assert (again.returncode, "exists" in again.stderr) == (2, True)
    assert shell("plugin", "new", "../bad").returncode == 2
    for taken in ("torch", "nodegraph", "json"):
        refused = shell("plugin", "new", taken)
        assert refused.returncode == 2
        assert f"'{taken}' is a module already" in refused.stderr
        assert not (tmp_path / taken).exists()


def test_every_wrong_setting_is_told_at_once(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(picture_workflow())
    wrong = ("mask.txt=x", "mask.width=abc", "mask.size_x=-1", "nope.a=1", "lost.b=2", "no equals")
    done = shell("check", "w.json", *(part for setting in wrong for part in ("--set", setting)))
    assert done.returncode == 2
    for words in (
        "has 6 problems",
        "mask.txt: ",
        "mask.width: 'abc'",
        "mask.size_x: ",
        "'nope.a'",
        "'lost.b'",
        "no equals",
    ):
        assert words in done.stderr, done.stderr


def test_a_picture_elsewhere_is_taken_from_the_command_line_and_not_from_the_document(
    shell: Shell, tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "w.json").write_text(document(
        picture={"type": "LoadImage", "values": {"image": "none.png"}},
        show={"type": "InvertImage", "links": {"image": {"node": "picture", "output": "image"}}},
    ))  # fmt: skip
    (tmp_path / "own.png").write_bytes(encode_png(torch.rand(3, 8, 8), {}))
    (tmp_path / "here").mkdir()
    taken = shell("check", "work/w.json", "--set", "picture.image=here/../own.png")
    assert taken.returncode == 0, taken.stderr
    for name in ("../own.png", str(tmp_path / "own.png")):
        (tmp_path / "work" / "named.json").write_text(
            (tmp_path / "work" / "w.json").read_text().replace("none.png", name)
        )
        refused = shell("check", "work/named.json")
        assert refused.returncode == 2
        assert "is not a relative name" in refused.stderr
        assert str(tmp_path / "home" / "inputs") in refused.stderr
        assert "--set NODE.INPUT=PATH" in refused.stderr
