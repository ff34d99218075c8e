"""A compiled network gives the same picture; one that cannot be compiled goes on as it was and says so once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer
from torch import Tensor
from torch._inductor import config
from typer.testing import CliRunner

from nodegraph import Workflow
from nodegraph.cache import ResultCache
from nodegraph.diffusion.models import compiling
from nodegraph.diffusion.models.conditional import DiTDenoiser
from nodegraph.diffusion.models.pool import ModelPool
from nodegraph.diffusion.models.trained import NetworkShape, TrainedConfig, checkpoint, compose, pack
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.values import Checkpoint, Conditioning, Latent, Sigmas
from nodegraph.engine import Engine
from nodegraph.home import Home
from nodegraph.options import Compile
from nodegraph.receipt import read
from nodegraph.verify import verify

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated")  # by inductor itself
CONFIG = TrainedConfig(
    size=8, channels=3, words=("red", "blue"),
    network=NetworkShape(width=8, depth=1, heads=1, patch=4, text_width=8, text_depth=0),
)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Checkpoint:
    torch.manual_seed(0)
    network = compose(CONFIG)
    for parameter in network.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))  # the last layer begins as zeros
    return checkpoint(pack(CONFIG, {"model": network}))


@pytest.fixture(autouse=True)
def one_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Kernels are compiled in this process, and are not those of another test."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "kernels"))
    torch._dynamo.reset()
    with config.patch(compile_threads=1):
        yield


def painted(model: Checkpoint, *, compiled: bool, pool: ModelPool | None = None) -> Tensor:
    live = (pool or ModelPool()).open(model, None, "cpu", compiled=compiled)
    positive: Conditioning = live.text_encoder.encode("red", {})
    sigmas = Sigmas(torch.tensor([9.0, 4.0, 1.0, 0.0], dtype=torch.float64))
    for step in sample(live.denoiser, Latent(torch.zeros(1, 3, 8, 8)), sigmas, positive):
        pass
    return step.x


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged by us; torch has a log of its own."""
    return [record.getMessage() for record in caplog.records if record.name == "nodegraph.models"]


def test_a_network_that_dynamo_takes_apart_paints_the_same(
    model: Checkpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")  # all of torch.compile but the C++ compiler
    torch._dynamo.utils.counters.clear()
    with caplog.at_level(logging.WARNING, "nodegraph.models"):
        found = painted(model, compiled=True)
    torch.testing.assert_close(found, painted(model, compiled=False), atol=1e-3, rtol=0)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1
    assert not torch._dynamo.utils.counters["graph_break"]
    assert said(caplog) == []


@pytest.mark.slow
def test_compiled_kernels_paint_the_same(model: Checkpoint, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "nodegraph.models"):
        found = painted(model, compiled=True)
    assert said(caplog) == []
    torch.testing.assert_close(found, painted(model, compiled=False), atol=1e-3, rtol=0)


def test_without_a_compiler_it_goes_on_and_says_so_once(
    model: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    pool = ModelPool()
    without = config.patch({"cpp.cxx": ("no-such-compiler",)})
    with without, caplog.at_level(logging.WARNING, "nodegraph.models"):
        found = [painted(model, compiled=True, pool=pool) for _ in range(2)]
    plain = painted(model, compiled=False)
    assert all(torch.equal(one, plain) for one in found)
    (warning,) = said(caplog)
    assert warning.startswith("trained could not be compiled and runs as it is: ")
    assert "no-such-compiler" in warning
    assert warning.endswith("install it, or leave out --compile")


def test_what_a_network_refuses_is_not_blamed_on_the_compiler(
    model: Checkpoint, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "aot_eager")
    live = ModelPool().open(model, None, "cpu", compiled=True)
    assert isinstance(live.denoiser, DiTDenoiser)
    with pytest.raises(RuntimeError, match="size"), caplog.at_level(logging.WARNING, "nodegraph.models"):
        live.denoiser.network(
            torch.zeros(1, 5, 8, 8), torch.zeros(1), torch.zeros(1, 2, 8), None, torch.zeros(1, 8)
        )
    assert said(caplog) == []


def test_networks_are_compiled_apart_from_those_that_are_not(model: Checkpoint) -> None:
    pool = ModelPool()
    plain, fast = (pool.open(model, None, "cpu", compiled=one).denoiser for one in (False, True))
    assert isinstance(plain, DiTDenoiser)
    assert isinstance(fast, DiTDenoiser)
    assert plain.network is not fast.network
    assert "forward" in vars(fast.network)
    assert "forward" not in vars(plain.network)
    assert all(
        torch.equal(a, b) for a, b in zip(plain.network.parameters(), fast.network.parameters(), strict=True)
    )


@pytest.mark.parametrize("word", ["1", "true", "Yes", "on", " y ", "0", "FALSE", "no", "off", "n"])
def test_python_understands_the_environment_as_the_commands_do(
    word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = typer.Typer()
    heard = []

    @app.command()
    def run(compiled: Compile = False) -> None:
        heard.append(compiled)

    monkeypatch.setenv("NODEGRAPH_COMPILE", word)
    assert CliRunner().invoke(app, []).exit_code == 0
    home = Home.of_user(tmp_path)
    assert [Engine(home=home, device="cpu").compiled] == heard
    assert Engine(home=home, device="cpu", compiled=True).compiled
    assert not Engine(home=home, device="cpu", compiled=False).compiled


def test_what_the_environment_says_of_compiling_is_yes_or_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home.of_user(tmp_path)
    monkeypatch.delenv("NODEGRAPH_COMPILE", raising=False)
    assert not Engine(home=home, device="cpu").compiled
    monkeypatch.setenv("NODEGRAPH_COMPILE", "")
    assert not Engine(home=home, device="cpu").compiled
    monkeypatch.setenv("NODEGRAPH_COMPILE", "perhaps")
    with pytest.raises(ValueError, match="NODEGRAPH_COMPILE is 'perhaps'; set it to 1 or 0"):
        Engine(home=home, device="cpu")


def test_convolutions_are_laid_out_channels_last() -> None:
    flat = torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3), torch.nn.Linear(4, 4))
    frames = torch.nn.Sequential(torch.nn.Conv3d(4, 4, 3))
    for network in (flat, frames):
        compiling.speed_up(network, "it")
    assert flat[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert frames[0].weight.is_contiguous()


def test_keys_and_receipts_tell_that_a_result_was_made_with_compiled_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    workflow = Workflow.from_data(
        {
            "format": "nodegraph", "version": 1,
            "nodes": {
                "model": {"type": "LoadModel", "values": {"checkpoint": "analytic://gaussian?size=8"}},
                "prompt": {"type": "Encode", "links": {"text_encoder": {"node": "model", "output": "text_encoder"}}},
                "sigmas": {
                    "type": "Schedule", "values": {"steps": 2}, "links": {"model": {"node": "model", "output": "model"}},
                },
                "latent": {"type": "EmptyLatent", "links": {"vae": {"node": "model", "output": "vae"}}},
                "paint": {
                    "type": "Sampler", "values": {"guidance_scale": 1.0},
                    "links": {
                        "model": {"node": "model", "output": "model"}, "positive": {"node": "prompt", "output": "conditioning"},
                        "latent": {"node": "latent", "output": "latent"}, "sigmas": {"node": "sigmas", "output": "sigmas"},
                    },
                },
                "decode": {
                    "type": "VAEDecode",
                    "links": {"vae": {"node": "model", "output": "vae"}, "latent": {"node": "paint", "output": "latent"}},
                },
                "save": {"type": "SaveImage", "links": {"image": {"node": "decode", "output": "image"}}},
            },
        }
    )  # fmt: skip
    home = Home.of_user(tmp_path)
    plain, fast = (
        Engine(
            home=home, cache=ResultCache(), files=home.files(output=tmp_path / "out"), device="cpu", compiled=one
        )
        for one in (False, True)
    )
    keys = [{name: step.key for name, step in engine.plan(workflow).steps.items()} for engine in (plain, fast)]
    assert {name for name in keys[0] if keys[0][name] != keys[1][name]} == {"prompt", "paint", "decode", "save"}
    (picture,) = fast.run(workflow).files
    assert read(picture).receipt.compiled
    assert "compiled yes -> no" in verify(picture, plain).changed_versions
    assert not verify(picture, fast).changed_versions
