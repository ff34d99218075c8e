"""The embedded model as it ships: small, quick to load, and its pictures follow words and seeds."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

import nodegraph.diffusion
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.models.emoji import describe, load
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.values import Checkpoint, Latent, Sigmas

FOLDER = Path(nodegraph.diffusion.__path__[0]) / "embedded" / "emoji"
CHECKPOINT = Checkpoint("emoji", "digest", "emoji")


@pytest.fixture(scope="module")
def live() -> Loaded:
    return load(CHECKPOINT, FOLDER, "cpu")


def paint(live: Loaded, text: str, *, style: str = "", count: int = 2, seed: int = 0, steps: int = 12) -> Tensor:
    model, _, vae = describe(CHECKPOINT, FOLDER)
    side = vae.size // vae.downscale
    blank = Latent(torch.zeros(count, vae.latent_channels, side, side))
    sigmas = Sigmas(schedule("karras", model.parametrization, steps))
    positive = live.text_encoder.encode(text, {style: 1.0} if style else {})
    negative = live.text_encoder.encode("", {})
    for step in sample(
        live.denoiser, blank, sigmas, positive, negative, name="dpmpp_2m", seed=seed, guidance_scale=4
    ):
        pass
    return live.vae.decode(step.x)


def test_it_is_small_and_loads_in_a_moment() -> None:
    files = list(FOLDER.glob("*.safetensors"))
    assert {file.stem for file in files} == {"vae", "text_encoder", "denoiser", "style_reader"}
    assert sum(file.stat().st_size for file in files) <= 40e6
    load(CHECKPOINT, FOLDER, "cpu")
    started = time.perf_counter()
    load(CHECKPOINT, FOLDER, "cpu")
    assert time.perf_counter() - started < 2  # a busy machine; idle it is well under a second


def test_colours_follow_words(live: Loaded) -> None:
    """The mean of what is not white: the asked channel stands out."""
    for text, strongest in (
        ("red heart", 0),
        ("green apple", 1),
        ("blue car", 2),
        ("红色的心", 0),
        ("蓝色汽车", 2),
    ):
        pictures = paint(live, text)
        subject = (pictures.amin(1, keepdim=True) < 0.85).float()
        colour = (pictures * subject).sum((0, 2, 3)) / subject.sum()
        assert int(colour.argmax()) == strongest, f"{text}: {colour.tolist()}"


def test_faces_are_yellow_and_round(live: Loaded) -> None:
    pictures = paint(live, "smiling face", count=4)
    red, green, blue = pictures[..., 20:44, 20:44].mean((0, 2, 3)).tolist()
    assert min(red, green) > blue + 0.2
    corners = torch.stack([pictures[..., :5, :5], pictures[..., -5:, -5:]])
    assert float(corners.mean()) > 0.9


def test_seeds_words_and_styles_all_change_the_picture(live: Loaded) -> None:
    def one(text: str, style: str = "3d", seed: int = 0) -> Tensor:
        return paint(live, text, style=style, seed=seed, count=1, steps=8)

    base = one("cat face")
    assert torch.equal(base, one("cat face"))
    for other in (one("cat face", seed=50), one("pizza"), one("cat face", style="twemoji")):
        assert float((base - other).abs().mean()) > 0.02


def test_image_i_of_a_batch_is_the_single_image_of_seed_plus_i(live: Loaded) -> None:
    batch = paint(live, "dog face", count=3, seed=5, steps=6)
    single = paint(live, "dog face", count=1, seed=7, steps=6)
    assert torch.allclose(batch[2], single[0], atol=2e-4)


def test_the_vae_gives_back_what_it_is_given(live: Loaded) -> None:
    """A flat drawing of shapes, nothing that it was trained on."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    disc = (x**2 + y**2 < 0.6).float()
    picture = torch.stack([1 - 0.1 * disc, 1 - 0.7 * disc, 1 - 0.9 * disc])[None]
    latent = live.vae.encode(picture)
    assert latent.shape == (1, 12, 16, 16)
    error = (live.vae.decode(latent) - picture).square().mean()
    assert float(-10 * error.log10()) > 25


def test_unknown_words_are_named_and_unknown_styles_refused(live: Loaded) -> None:
    assert live.text_encoder.unknown_words("a red Quuxapple, 苹果") == ["quuxapple"]
    with pytest.raises(ValueError, match=r"Did you mean 'twemoji'\?"):
        live.text_encoder.encode("x", {"twemoj": 1.0})


def test_words_are_weighted(live: Loaded) -> None:
    def embedding(text: str) -> Tensor:
        found = live.text_encoder.encode(text, {}).conditions[0].embedding
        assert found is not None
        return found[0]

    plain, heavy = embedding("red apple"), embedding("(red:1.5) apple")
    assert torch.equal(embedding("(red:1.0) apple"), plain)
    assert torch.allclose(heavy[1], 1.5 * plain[1])  # after the style's token
    assert torch.equal(heavy[[0, 2]], plain[[0, 2]])
    assert live.text_encoder.unknown_words("(red:1.5) apple") == []

    def blueness(text: str) -> float:
        red, green, blue = paint(live, text, count=2, steps=8)[..., 16:48, 16:48].mean((0, 2, 3)).tolist()
        return float(blue - (red + green) / 2)

    # Not as little as without the word, of which the other word's embedding tells too.
    assert blueness("(blue:0.1) heart") < blueness("blue heart") - 0.1


def test_it_is_loaded_without_the_compiler_of_torch() -> None:
    program = "import sys; from test_emoji import CHECKPOINT, FOLDER, load; load(CHECKPOINT, FOLDER, 'cpu')"
    program += "; sys.exit('torch._dynamo' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent, check=True)


def test_articles_say_nothing(live: Loaded) -> None:
    first = live.text_encoder.encode("a picture of the red apple", {}).conditions[0].embedding
    second = live.text_encoder.encode("Red apple", {}).conditions[0].embedding
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no config"):
        describe(CHECKPOINT, tmp_path)
