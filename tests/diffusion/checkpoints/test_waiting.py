"""A step of the loop asks nothing of the device and sends it nothing that it would wait for.

On the device `meta` nothing has a value, so that whatever asks for one fails; and what is sent there can be seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import tiny
import tiny_flow
import torch
from diffusers import ControlNetModel
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nodegraph.diffusion.checkpoints import flux, qwen, sd3, wan, zimage
from nodegraph.diffusion.checkpoints.controlnet import ControlNetwork
from nodegraph.diffusion.checkpoints.transformer import Transformer
from nodegraph.diffusion.checkpoints.unet import UNet
from nodegraph.diffusion.live import LiveDenoiser
from nodegraph.diffusion.models import trained
from nodegraph.diffusion.models.conditional import DiTDenoiser
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.samplers import LEARNED, SAMPLERS
from nodegraph.diffusion.values import (
    Checkpoint,
    Condition,
    Conditioning,
    Control,
    Guidance,
    Inpainting,
    Latent,
    Parametrization,
    PerturbedAttention,
    Sigmas,
)

FLOW = Parametrization("flow", "flow", 0.001, 1e6)
EPS = Parametrization("eps", "scaled_linear", 0.03, 14.6)
SIGMAS = Sigmas(torch.tensor([9.0, 4.0, 2.0, 1.0, 0.0], dtype=torch.float64))
PICTURE = (1, 16, 8, 8)
ASKING = {"_local_scalar_dense", "item", "is_nonzero", "equal", "nonzero"}


class Watch(TorchDispatchMode):
    """Notes every operation that makes the host wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        before = {one.device.type for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor) and one.ndim}
        after = {one.device.type for one in tree_leaves(result) if isinstance(one, Tensor)}
        named = zip((one.name for one in func._schema.arguments), args, strict=False)
        asynchronous = {**dict(named), **(kwargs or {})}.get("non_blocking", False)
        if name in ASKING or ((len(before) > 1 or (before and after - before)) and not asynchronous):
            self.waits.append(f"{name} {sorted(before)} -> {sorted(after)}")
        return result


def waits(steps: Iterator[Any]) -> list[str]:
    """What is waited for after the first step."""
    next(steps)
    with Watch() as watch:
        for _ in steps:
            pass
    return watch.waits


def of_unet(family: str) -> tuple[LiveDenoiser, Condition, tuple[int, ...]]:
    network = tiny.make(family).networks["unet"]
    told = {"sdxl": 6, "sdxl-refiner": 5}.get(family, 0)
    wide = network.config["cross_attention_dim"]
    condition = Condition(torch.randn(1, 77, wide), pooled=torch.randn(1, 32) if told else None)
    return UNet(network.to("meta"), EPS, told), condition, (1, 4, 16, 16)


def of_transformer(made: Any, forward: Any, width: int, **more: Any) -> tuple[LiveDenoiser, Condition, Any]:
    network = made.networks["transformer"].to("meta")
    pooled, told = more.pop("pooled", None), more.pop("numbers", ())
    condition = Condition(
        torch.randn(1, 8, width),
        pooled=None if pooled is None else torch.randn(1, pooled),
        numbers=told or None,
    )
    shape = more.pop("shape", PICTURE)
    return Transformer(network, FLOW, forward, 16, width, pooled is not None, len(told), **more), condition, shape


def of_dit() -> tuple[LiveDenoiser, Condition, tuple[int, ...]]:
    config = trained.TrainedConfig(size=8, channels=3, words=("a",), network=trained.NetworkShape(depth=2))
    condition = Condition(torch.randn(1, 4, 64), torch.ones(1, 4, dtype=torch.bool), torch.randn(1, 64))
    return DiTDenoiser(trained.compose(config).denoiser.to("meta"), FLOW, 3, 8, 1), condition, (1, 3, 8, 8)


MODELS = {
    "sd1": lambda: of_unet("sd1"),
    "sdxl": lambda: of_unet("sdxl"),
    "dit": of_dit,
    "flux": lambda: of_transformer(tiny_flow.flux(True), flux.forward, 32, pooled=64, numbers=(3.5,)),
    "sd3": lambda: of_transformer(tiny_flow.sd3("3.5 medium"), sd3.forward, 256, pooled=96),
    "z-image": lambda: of_transformer(tiny_flow.z_image(), zimage.forward, 48),
    "qwen-image": lambda: of_transformer(tiny_flow.qwen_image(), qwen.forward, 256),
    "wan": lambda: of_transformer(tiny_flow.wan(), wan.forward, 32, frames=True, shape=(1, 16, 2, 4, 4)),
}


@pytest.mark.parametrize("family", MODELS)
def test_no_step_of_a_family_waits(family: str) -> None:
    live, condition, shape = MODELS[family]()
    both = (Conditioning((one,)) for one in (condition, replace(condition)))
    assert waits(sample(live, Latent(torch.zeros(shape)), SIGMAS, *both, guidance_scale=3.0, device="meta")) == []


class Half:
    """A denoiser that halves."""

    def predict(self, x: Tensor, sigma: float, conditions: Sequence[Condition]) -> list[Tensor]:
        return [x / (2 + sigma) for _ in conditions]


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in LEARNED])
def test_no_step_of_a_sampler_waits(name: str) -> None:
    latent, both = Latent(torch.zeros(2, 4, 8, 8)), [Conditioning((Condition(),))] * 2
    assert waits(sample(Half(), latent, SIGMAS, *both, name=name, guidance_scale=3.0, device="meta")) == []


@pytest.mark.parametrize("method", ["blend", "repaint"])
def test_no_step_of_inpainting_waits(method: Any) -> None:
    latent = Latent(torch.zeros(2, 4, 8, 8), torch.ones(1, 1, 8, 8), Inpainting(method, 2))
    assert waits(sample(Half(), latent, SIGMAS, Conditioning((Condition(),)), device="meta")) == []


def test_a_picture_to_follow_and_perturbed_attention_wait_for_nothing() -> None:
    live, condition, shape = of_unet("sd1")
    assert isinstance(live, UNet)
    network = ControlNetModel.from_unet(tiny.make("sd1").networks["unet"]).eval().to("meta")
    controls = (Control(Checkpoint("lines", "digest", "controlnet"), torch.rand(1, 3, 100, 100)),)
    both = (Conditioning((replace(condition, controls=controls),)) for _ in range(2))
    live = live.controlled({"digest": ControlNetwork(network)})
    guidance = Guidance((PerturbedAttention(3.0),))
    steps = sample(
        live, Latent(torch.zeros(shape)), SIGMAS, *both, guidance_scale=3.0, guidance=guidance, device="meta"
    )
    assert waits(steps) == []


def test_regions_are_weighed_once_for_a_run() -> None:
    left = torch.zeros(1, 1, 8, 8)
    left[..., :4] = 1
    positive = Conditioning((Condition(region=left), Condition(strength=0.5, region=1 - left)))
    steps = sample(
        Half(), Latent(torch.zeros(1, 4, 8, 8)), SIGMAS, positive, Conditioning((Condition(),)), guidance_scale=3.0
    )
    assert waits(steps) == []


def test_what_waits_is_seen() -> None:
    def steps() -> Iterator[Tensor]:
        for value in (torch.ones(2), torch.ones(2), torch.ones(2)):
            yield value.to("meta") * float(value.sum())

    assert [name.split()[0] for name in waits(steps())] == ["_to_copy", "_local_scalar_dense"] * 2
