"""Where models are looked for, and what `nodegraph models` says of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from conftest import Shell
from safetensors.torch import save_file

from nodegraph.errors import FileRefused
from nodegraph.home import Home


def lora(path: Path, **metadata: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"lora_unet_mid_block_x.lora_down.weight": torch.zeros(2, 2)}, path, metadata)
    return path


def test_it_lists_families_sizes_dtypes_and_licences(shell: Shell, tmp_path: Path) -> None:
    models = tmp_path / "home" / "models"
    lora(models / "loras" / "mine.safetensors", **{"modelspec.license": "CC0"})
    broken = models / "vae" / "broken.safetensors"
    broken.parent.mkdir()
    broken.write_bytes(b"")
    done = shell("models", "--json")
    assert done.returncode == 0, done.stderr
    found = {(entry["kind"], entry["name"]): entry for entry in map(json.loads, done.stdout.splitlines())}
    assert found["checkpoints", "emoji"]["bytes"] > 1e7
    mine = found["loras", "mine.safetensors"]
    assert (mine["family"], mine["bytes"], mine["dtype"], mine["license"]) == ("LoRA", 16, "F32", "CC0")
    assert "0 bytes" in found["vae", "broken.safetensors"]["problem"]
    plain = shell("models", "loras")
    assert "mine.safetensors" in plain.stdout
    assert "LoRA (F32, CC0)" in plain.stdout
    assert "emoji" not in plain.stdout
    assert shell("models", "lora").returncode == 2


def test_a_file_that_no_terminal_can_show_hides_no_other(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "home" / "models" / "loras"
    lora(folder / "mine.safetensors")
    (folder / os.fsdecode(b"latin-\xe9.safetensors")).write_bytes(b"")
    header = json.dumps({"\ud800\x1b[2J": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "hostile.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    done = shell("models", "loras")
    assert done.returncode == 0, done.stderr
    assert "mine.safetensors" in done.stdout
    assert "\\udce9.safetensors" in done.stdout
    assert "\\ud800\\x1b[2J" in done.stdout
    assert "\x1b" not in done.stdout


def test_models_may_be_links_to_other_disks_and_what_is_passed_over_is_told(shell: Shell, tmp_path: Path) -> None:
    """Users of several programs link their models; what cannot be used hides no other."""
    folder = tmp_path / "home" / "models" / "loras"
    there = lora(tmp_path / "disk" / "blob")  # the caches of downloads know no suffixes
    lora(folder / "mine.safetensors")
    (folder / "linked.safetensors").symlink_to(there)
    (folder / "gone.safetensors").symlink_to(tmp_path / "unplugged")
    (folder / "back\\slash.safetensors").write_bytes(there.read_bytes())
    done = shell("models", "loras", "--json")
    assert done.returncode == 0, done.stderr
    found = {entry["name"]: entry for entry in map(json.loads, done.stdout.splitlines())}
    assert {name: entry["family"] for name, entry in found.items()} == {
        "linked.safetensors": "LoRA", "mine.safetensors": "LoRA", "back\\slash.safetensors": "", "gone.safetensors": "",
    }  # fmt: skip
    assert found["gone.safetensors"]["problem"] == "it is a link to what is not there"
    assert "give it another" in found["back\\slash.safetensors"]["problem"]
    files = Home.of_user(tmp_path / "home").files(output=tmp_path)
    linked = files.find("loras", "linked.safetensors")
    assert linked == folder / "linked.safetensors"
    assert files.digest(linked) == files.digest(there)
    with pytest.raises(FileRefused):
        files.find("loras", "gone.safetensors")


def test_a_folder_of_models_may_be_a_link_and_one_that_is_not_followed_is_told(
    shell: Shell, tmp_path: Path
) -> None:
    folder, disk, other = tmp_path / "home" / "models" / "loras", tmp_path / "disk", tmp_path / "other"
    real = lora(disk / "styles" / "ink.safetensors")
    lora(other / "far.safetensors")
    lora(folder / "own" / "mine.safetensors")
    (disk / "cached.safetensors").symlink_to(lora(other / "blob"))  # what it links to is one file
    (disk / "back").symlink_to(folder)
    (disk / "further").symlink_to(other)
    (folder / "shared").symlink_to(disk)
    (folder / "home").symlink_to(tmp_path)
    (folder / "alias").symlink_to(folder / "own")
    (folder / "round").symlink_to("round")
    done = shell("models", "loras", "--json")
    assert done.returncode == 0, done.stderr
    found = {entry["name"]: entry["problem"] for entry in map(json.loads, done.stdout.splitlines())}
    assert found == {
        "own/mine.safetensors": "",
        "shared/styles/ink.safetensors": "",
        "shared/cached.safetensors": "",
        "shared/back": "it is a link to a folder that is looked into under its own name",
        "shared/further": "it is a link in a folder that is a link itself; link it beside that one",
        "home": "it is a link to a folder that holds this one; link the folders of models alone",
        "alias": "it is a link to a folder that is looked into under its own name",
        "round": "it is a link to what is not there",
    }
    files = Home.of_user(tmp_path / "home").files(output=tmp_path)
    assert files.find("loras", "shared/styles/ink.safetensors") == real
    assert files.find("loras", "shared/cached.safetensors") == disk / "cached.safetensors"
    for name in ("shared", "shared/further/far.safetensors", "home/other/far.safetensors", "shared/../../x"):
        with pytest.raises(FileRefused):
            files.find("loras", name)


def test_a_file_that_two_kinds_have_is_one_model(shell: Shell) -> None:
    done = shell("models", "upscalers", "onnx")
    first, second = done.stdout.splitlines()
    assert first.split()[:2] == ["upscalers", "upscale2x"]
    assert first.endswith("  ONNX")
    assert second.split()[:2] == ["onnx", "upscale2x"]
    assert second.endswith("  ONNX, the same file as among the upscalers")
    assert done.stderr.startswith("1 models; ")


def test_a_linked_diffusers_folder_is_one_name(tmp_path: Path) -> None:
    lora(tmp_path / "disk" / "mine" / "unet" / "x.safetensors")
    (tmp_path / "disk" / "mine" / "model_index.json").write_text("{}")
    folder = tmp_path / "home" / "models" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "mine").symlink_to(tmp_path / "disk" / "mine")
    files = Home.of_user(tmp_path / "home").files(output=tmp_path)
    assert files.names("checkpoints") == ["emoji", "mine"]
    assert files.find("checkpoints", "mine") == folder / "mine"


def test_a_folder_of_comfyui_is_read_as_it_is(tmp_path: Path) -> None:
    comfy = tmp_path / "ComfyUI" / "models"
    for folder in ("checkpoints", "unet", "upscale_models", "clip", "loras"):
        lora(comfy / folder / f"{folder}.safetensors")
    files = Home.of_user(tmp_path / "home", [comfy]).files(output=tmp_path)
    assert files.find("checkpoints", "unet.safetensors") == comfy / "unet" / "unet.safetensors"
    assert files.find("upscalers", "upscale_models.safetensors") is not None
    assert files.names("text_encoders") == ["clip.safetensors"]
    assert files.names("checkpoints") == ["emoji", "checkpoints.safetensors", "unet.safetensors"]


def test_comfyuis_own_list_of_folders_is_read(tmp_path: Path, shell: Shell) -> None:
    lora(tmp_path / "a" / "loras" / "one.safetensors")
    lora(tmp_path / "b" / "two.safetensors")
    text = "comfyui:\n  base_path: a\n  is_default: true\n  custom_nodes: x\n  loras: |\n    loras\n    ../b\n"
    (tmp_path / "extra_model_paths.yaml").write_text(text)
    done = shell("models", "loras", "--models", "extra_model_paths.yaml")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["one.safetensors", "two.safetensors"]
    again = shell("models", "loras", NODEGRAPH_MODELS="extra_model_paths.yaml")
    assert again.stdout == done.stdout


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "!!python/object/apply:os.system ['touch ran']"])
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "extra.yaml"
    path.write_text(text)
    with pytest.raises(FileRefused, match=r"extra\.yaml"):
        Home.of_user(tmp_path / "home", [path]).model_roots()
    assert not Path("ran").exists()


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="no model folder"):
        Home.of_user(tmp_path / "home", [tmp_path / "nowhere"]).model_roots()


def test_a_diffusers_folder_is_one_name(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "models" / "checkpoints" / "mine"
    lora(folder / "unet" / "x.safetensors")
    (folder / "model_index.json").write_text("{}")
    files = Home.of_user(tmp_path / "home").files(output=tmp_path)
    assert files.names("checkpoints") == ["emoji", "mine"]
    assert files.find("checkpoints", "mine") == folder


def test_a_checkpoint_that_is_not_there_is_answered_with_where_to_put_it(tmp_path: Path) -> None:
    comfy = tmp_path / "comfy" / "models"
    (comfy / "checkpoints").mkdir(parents=True)
    files = Home.of_user(tmp_path / "home", [comfy]).files(output=tmp_path)
    with pytest.raises(FileRefused) as caught:
        files.find("checkpoints", "flux.safetensors")
    for word in (
        str(tmp_path / "home"),
        str(comfy / "checkpoints"),
        "--models",
        "NODEGRAPH_MODELS",
        "NODEGRAPH_HOME",
    ):
        assert word in str(caught.value)
