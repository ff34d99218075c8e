"""Which name was meant, and where none is near, none is named."""

from __future__ import annotations

import pytest

from nodegraph.errors import MOST_COMPARED, did_you_mean
from nodegraph.registry import Registry

SAMPLER = ["model", "positive", "latent", "sigmas", "negative", "sampler", "seed", "guidance_scale", "noise"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("Samplr", "Sampler"), ("sampler", "Sampler"), ("KSampler", "Sampler"), ("SaveImg", "SaveImage"),
        ("Resize", "ResizeImage"), ("Inpaint", "MaskInpaint"), ("Decode", "VAEDecode"), ("Int", "Integer"),
        ("CLIPTextEncode", "Encode"), ("EmptyLatentImage", "EmptyLatent"), ("LoadLoRA", "LoadLora"),
    ],
)  # fmt: skip
def test_a_type_that_is_nearly_right_is_known(registry: Registry, word: str, meant: str) -> None:
    assert did_you_mean(word, registry.nodes) == f" Did you mean {meant!r}?"


@pytest.mark.parametrize(
    "word", ["Foo", "cat", "Float", "KSamplerAdvanced", "FromAnotherWorld", "Posterize", "Watermark"]
)
def test_a_type_that_is_like_none_suggests_none(registry: Registry, word: str) -> None:
    assert did_you_mean(word, registry.nodes) == ""


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("pos", "positive"), ("neg", "negative"), ("scale", "guidance_scale"), ("guidence_scale", "guidance_scale"),
        ("sigma", "sigmas"), ("latents", "latent"), ("sede", "seed"), ("sampler_name", "sampler"),
        ("model_name", "model"), ("negative_prompt", "negative"),
    ],
)  # fmt: skip
def test_short_forms_and_longer_names_of_inputs_are_known(word: str, meant: str) -> None:
    assert did_you_mean(word, SAMPLER) == f" Did you mean {meant!r}?"


@pytest.mark.parametrize("word", ["x", "ne", "cfg", "zzz", "prompt"])
def test_what_says_too_little_suggests_nothing(word: str) -> None:
    assert did_you_mean(word, SAMPLER) == ""


def test_many_thousands_of_names_are_not_compared() -> None:
    names = [f"name {number}" for number in range(MOST_COMPARED)]
    assert did_you_mean("name 17x", names) == " Did you mean 'name 17'?"
    assert did_you_mean("name 17x", [*names, "one more"]) == ""
