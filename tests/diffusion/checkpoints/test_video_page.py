"""The workflows on the page about video run, with tiny networks under the names that they have there."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_flow
from conftest import ROOT
from test_comfyui_video import two_samplers

from nodegraph.engine import Engine
from nodegraph.home import Home
from nodegraph.pictures import decode
from nodegraph.workflow import Workflow

PAGE = (ROOT / "docs" / "video.md").read_text("utf-8")
DOCUMENTS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)]
SMALL = {"video.width": 32, "video.height": 48, "video.frames": 5, "schedule.steps": 3}


def save(models: Path, kind: str, **config: Any) -> None:
    one = tiny_flow.wan(two=True, **config)
    for name, file in (("transformer", "high_noise"), ("transformer_2", "low_noise")):
        original = tiny_flow.original_wan(one.networks[name])
        tiny_flow.save(original, models / "diffusion_models" / f"wan2.2_{kind}_{file}_14B_fp16.safetensors")
    encoder = tiny_flow.text(one.networks["text_encoder"])
    tiny_flow.save(encoder, models / "text_encoders" / "umt5_xxl_fp16.safetensors")
    tiny_flow.save(tiny_flow.original_frames_vae(one.networks["vae"]), models / "vae" / "wan_2.1_vae.safetensors")
    tiny_flow.save_tokenizer(models / "tokenizers" / "umt5.json")


MADE: dict[str, Callable[[Path], None]] = {
    "Wan 2.2 text to video": lambda models: save(models, "t2v"),
    "Wan 2.2 picture to video": lambda models: save(models, "i2v", in_channels=36),
}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["title"])
def test_it_runs(document: dict[str, Any], home: Home, tmp_path: Path) -> None:
    MADE[document["title"]](home.models)
    shutil.copy(ROOT / "docs" / "images" / "upscale.png", tmp_path / "cat.png")
    engine = Engine(home=home, files=home.files(output=tmp_path / "out", inputs=[tmp_path]))
    result = engine.run(Workflow.model_validate(document), values=SMALL)
    (video,) = result.files
    assert decode(video.read_bytes()).shape[-2:] == (48, 32)


def test_two_samplers_of_comfyui_make_a_video_from_a_picture(home: Home, tmp_path: Path) -> None:
    """The second network is shown the picture too, though its latent comes from the first one's Sampler."""
    MADE["Wan 2.2 picture to video"](home.models)
    shutil.copy(ROOT / "docs" / "images" / "upscale.png", tmp_path / "cat.png")
    workflow = Workflow.from_data(two_samplers()).with_values(
        {
            "model.checkpoint": "wan2.2_i2v_high_noise_14B_fp16.safetensors",
            "model_2.checkpoint": "wan2.2_i2v_low_noise_14B_fp16.safetensors",
            "text_encoder.first": "umt5_xxl_fp16.safetensors",
            "text_encoder.tokenizer": "umt5.json",
            "video.width": 32,
            "video.height": 48,
            "video.frames": 5,
            **{f"schedule{end}.steps": 4 for end in ("", "_2")},
            **{f"split{end}.step": 2 for end in ("", "_2")},
        }
    )
    engine = Engine(home=home, files=home.files(output=tmp_path / "out", inputs=[tmp_path]))
    result = engine.run(workflow, targets=["sampler", "sampler_2", "save"])
    (video,) = result.files
    assert decode(video.read_bytes()).shape[-2:] == (48, 32)
    assert result["sampler"]["latent"].shown is not None
    assert result["sampler_2"]["latent"].shown is None
