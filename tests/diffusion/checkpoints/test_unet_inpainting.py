"""A U-Net of Stable Diffusion repaints by its gradient, and by channels where it has them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from nodegraph.nodes.models import Encode, LoadModel
from nodegraph.nodes.sampling import DDIMInvert

from nodegraph import Context
from nodegraph.diffusion.models.loading import describe, load
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.values import Inpainting, InpaintMethod, Latent, Sigmas
from nodegraph.files import Files

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers")


def painted(path: Path, channels: int, method: InpaintMethod) -> tuple[torch.Tensor, Latent]:
    folder = tiny.save_folder(tiny.make("sd1", channels=channels), path / str(channels))
    handles = describe(folder.name, folder, "digest")
    live = load(handles.model.checkpoint, folder, "cpu")
    known = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 4:] = 1
    latent = Latent(known, mask, Inpainting(method))
    words = live.text_encoder.encode("a cat", {})
    for step in sample(live.denoiser, latent, Sigmas(torch.tensor([8.0, 2.0, 0.0])), words, seed=1):
        pass
    return step.x, latent


@pytest.mark.parametrize(("channels", "method"), [(4, "guided"), (4, "blend"), (9, "channels")])
def test_the_known_part_stays_and_the_rest_is_painted(
    tmp_path: Path, channels: int, method: InpaintMethod
) -> None:
    found, latent = painted(tmp_path, channels, method)
    assert torch.equal(found[..., :4], latent.tensor[..., :4])
    assert torch.isfinite(found).all()
    assert float((found - latent.tensor)[..., 4:].abs().mean()) > 0.1


def test_ddim_goes_backwards_with_what_a_network_is_shown(tmp_path: Path) -> None:
    tiny.save_folder(tiny.make("sd1", channels=9), tmp_path / "nine")
    context = Context(files=Files({"checkpoints": [tmp_path]}))
    model, text_encoder, _ = LoadModel(context, "nine")
    known = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    words = Encode(context, text_encoder, "a cat")

    def noise(masked: int) -> torch.Tensor:
        mask = torch.zeros(1, 1, 8, 8)
        mask[..., masked:] = 1
        return DDIMInvert(context, model, words, Latent(known, mask, Inpainting("channels")), steps=2).tensor

    assert not torch.equal(noise(2), noise(6))
    with pytest.raises(ValueError, match="inpainting model"):
        DDIMInvert(context, model, words, Latent(known), steps=2)


def test_methods_for_other_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="takes 0"):
        painted(tmp_path, 4, "channels")
    with pytest.raises(ValueError, match="inpainting model"):
        painted(tmp_path, 9, "blend")
