"""A compiled U-Net is tiled, perturbed, adapted and controlled as it is without compiling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from safetensors.torch import save_file
from torch import Tensor

from nodegraph.diffusion.models import compiling
from nodegraph.diffusion.models.loading import describe
from nodegraph.diffusion.models.pool import ModelPool
from nodegraph.diffusion.values import Checkpoint, Control

Estimates = Sequence[Tensor]


@pytest.mark.slow
def test_what_changes_a_network_changes_the_compiled_one_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "BACKEND", "eager")  # what is compared is what was traced, without kernels
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    made = tiny.make("sd1")
    path = tiny.save_single(made, tmp_path / "model.safetensors")
    checkpoint = describe("model", path, "digest").model.checkpoint
    pool = ModelPool()
    text_encoder = pool.open(checkpoint, path, "cpu").text_encoder
    condition = text_encoder.encode("a cat", {}).conditions[0]
    control = Checkpoint("control", "other", "controlnet")
    controlled = replace(condition, controls=(Control(control, torch.rand(1, 3, 64, 64)),))
    lora, edges = lora_of(tmp_path / "lora.safetensors"), control_of(made, tmp_path / "control.safetensors")

    def estimates(change: str, count: int, side: int, *, compiled: bool) -> Estimates:
        unet = pool.open(checkpoint, path, "cpu", compiled=compiled).denoiser
        x = torch.randn(count, 4, side, side, generator=torch.Generator().manual_seed(count + side))
        nets = {"other": pool.open(control, edges, "cpu", compiled=compiled).denoiser}
        ways: dict[str, Callable[[], Estimates]] = {
            "": lambda: unet.predict(x, 2.0, [condition]),
            "tiled": lambda: unet.wrapping("both").predict(x, 2.0, [condition]),
            "across": lambda: unet.wrapping("horizontal").predict(x, 2.0, [condition]),
            "perturbed": lambda: unet.predict_perturbed(x, 2.0, [condition], unet.usual_blocks),
            "perturbed elsewhere": lambda: unet.predict_perturbed(x, 2.0, [condition], (0,)),
            "adapted": lambda: unet.adapted([(lora, 1.0)]).predict(x, 2.0, [condition]),
            "controlled": lambda: unet.controlled(nets).predict(x, 2.0, [controlled]),
            "controlled and tiled": lambda: unet.controlled(nets).wrapping("both").predict(x, 2.0, [controlled]),
        }
        with torch.inference_mode():
            return ways[change]()

    usual = estimates("", 1, 8, compiled=False)[0]
    changes = ["", "tiled", "across", "perturbed", "perturbed elsewhere", "adapted", "controlled"]
    for change in [*changes, "controlled and tiled", "", "tiled"]:
        plain = estimates(change, 1, 8, compiled=False)
        assert change == "" or float((plain[0] - usual).abs().max()) > 1e-3, change
        for a, b in zip(plain, estimates(change, 1, 8, compiled=True), strict=True):
            torch.testing.assert_close(b, a, atol=1e-3, rtol=0, msg=lambda text, c=change: f"{c}: {text}")
    for count, side in ((2, 8), (3, 8), (1, 16)):
        plain = estimates("", count, side, compiled=False)
        torch.testing.assert_close(estimates("", count, side, compiled=True)[0], plain[0], atol=1e-3, rtol=0)
    counters = torch._dynamo.utils.counters
    assert not counters["graph_break"]
    assert counters["stats"]["unique_graphs"] > 8  # beyond torch's own limit
    assert not any("recompile_limit" in reason for reason in counters["unimplemented"])


def lora_of(file: Path, width: int = 64) -> Path:
    """A LoRA of one projection, as wide as the network is there."""
    torch.manual_seed(1)
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q"
    weights = {"lora_down": torch.randn(4, width), "lora_up": torch.randn(width, 4)}
    save_file({f"{layer}.{name}.weight": value for name, value in weights.items()}, file)
    return file


def control_of(made: tiny.Tiny, file: Path) -> Path:
    """A ControlNet that does not begin as zeros."""
    torch.manual_seed(5)
    network = ControlNetModel.from_unet(made.networks["unet"], conditioning_embedding_out_channels=(8, 8, 16, 16))
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    save_file({name: value.detach().clone() for name, value in network.state_dict().items()}, file)
    return file
