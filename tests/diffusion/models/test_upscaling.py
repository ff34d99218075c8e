"""Upscaling without seams, ONNX in and out, and words where something is not there."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch
from nodegraph.nodes.upscale import RunOnnx, Upscale
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from nodegraph import Context
from nodegraph.diffusion.models import exporting
from nodegraph.diffusion.models.emoji import describe, load
from nodegraph.diffusion.models.upscaling import Upscaler
from nodegraph.diffusion.networks.onnx import OnnxNetwork, export
from nodegraph.diffusion.pictures.images import psnr
from nodegraph.diffusion.values import Checkpoint, Image
from nodegraph.errors import FileRefused
from nodegraph.home import PACKAGE, Home

SHIPPED = PACKAGE / "diffusion" / "embedded" / "upscale2x.onnx"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    home = Home(tmp_path, tmp_path / "cache")
    return Context(files=home.files(output=tmp_path / "out"))


def shapes(side: int) -> Tensor:
    """A disc, a bar and a ring with edges as sharp as pixels allow, nothing that was trained on: (1, 3, side, side)."""
    grid = torch.linspace(-1, 1, 4 * side)
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    disc = (x**2 + y**2 < 0.25).float()
    bar = ((x + 0.6 * y - 0.3).abs() < 0.06).float()
    ring = (((x + 0.3) ** 2 + (y - 0.3) ** 2).sqrt().sub(0.45).abs() < 0.05).float()
    fine = torch.stack([1 - 0.8 * disc, 1 - 0.9 * bar, 1 - 0.5 * disc - 0.5 * ring])[None]
    return functional.avg_pool2d(fine, 4)


def test_the_shipped_network_is_small_and_beats_interpolation(context: Context) -> None:
    assert SHIPPED.stat().st_size < 2e6
    large = shapes(256)
    small = functional.avg_pool2d(large, 2)
    plain = functional.interpolate(small, scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1)
    made = Upscale(context, Image(small)).tensor
    assert made.shape == large.shape
    assert psnr(made, large) > psnr(plain, large) + 2


def test_tiles_leave_no_seams(context: Context) -> None:
    torch.manual_seed(0)
    picture = Image(torch.cat([shapes(200), 1 - shapes(200)]))
    whole = Upscale(context, picture, tile=None).tensor
    tiled = Upscale(context, picture, tile=64).tensor
    assert whole.shape == tiled.shape == (2, 3, 400, 400)
    assert float((whole - tiled).abs().max()) < 1e-5


def test_a_picture_of_any_size_and_with_transparency_is_enlarged(context: Context) -> None:
    assert Upscale(context, Image(torch.rand(1, 4, 33, 70)), tile=32).tensor.shape == (1, 3, 66, 140)
    assert RunOnnx(context, Image(torch.rand(1, 3, 9, 7))).tensor.shape == (1, 3, 18, 14)


def test_a_network_that_takes_one_size_gets_it_in_tiles() -> None:
    seen = []

    def double(image: Tensor) -> Tensor:
        seen.append(tuple(image.shape[2:]))
        return functional.interpolate(image, scale_factor=2, mode="nearest")

    made = Upscaler(double, 2, side=64)(torch.rand(1, 3, 30, 100))
    assert set(seen) == {(64, 64)}
    assert made.shape == (1, 3, 60, 200)


def test_a_network_written_as_onnx_gives_what_torch_gives(tmp_path: Path) -> None:
    live = load(Checkpoint("emoji", "d", "emoji"), PACKAGE / "diffusion" / "embedded" / "emoji", "cpu", "float32")
    path = tmp_path / "part.onnx"
    path.write_bytes(exporting.as_onnx(live, Checkpoint("emoji", "d", "emoji"), "vae_encoder"))
    for content in (path.read_bytes(), SHIPPED.read_bytes()):
        assert b".py" not in content  # torch notes where each operation stands in the sources
    image = shapes(64)
    with torch.inference_mode():
        expected = live.vae.encode(image)
    assert torch.allclose(OnnxNetwork(path)(image=image)[0], expected, atol=1e-4)
    kept = live.vae.bfloat16()  # others go on painting with it as it is
    exporting.as_onnx(live, Checkpoint("emoji", "d", "emoji"), "vae_encoder")
    assert {weight.dtype for weight in kept.parameters()} == {torch.bfloat16}
    with pytest.raises(ValueError, match="embedded model can be exported"):
        exporting.as_onnx(live, Checkpoint("x", "d", "sd1"), "vae_encoder")


@pytest.mark.slow
def test_every_part_written_as_onnx_gives_what_torch_gives(tmp_path: Path) -> None:
    checkpoint = Checkpoint("emoji", "d", "emoji")
    folder = PACKAGE / "diffusion" / "embedded" / "emoji"
    live, handles = load(checkpoint, folder, "cpu", "float32"), describe(checkpoint, folder)
    networks = {}
    for part in ("vae_decoder", "text_encoder", "denoiser"):
        (tmp_path / f"{part}.onnx").write_bytes(exporting.as_onnx(live, checkpoint, part))  # type: ignore[arg-type]
        networks[part] = OnnxNetwork(tmp_path / f"{part}.onnx")
    latent = torch.randn(3, 12, 16, 16)
    with torch.inference_mode():
        assert torch.allclose(networks["vae_decoder"](latent=latent)[0], live.vae.decode(latent), atol=1e-4)
    ids = live.text_encoder.vocabulary.batch(["red apple"])  # type: ignore[attr-defined]
    style = torch.zeros(1, len(handles.text_encoder.styles) + 1)
    style[0, 0] = 1
    told = live.text_encoder.encode("red apple", {}).conditions[0]
    embedding, mask, pooled = networks["text_encoder"](ids=ids, style=style)
    assert torch.allclose(embedding, told.embedding, atol=1e-4)  # type: ignore[arg-type]
    given = {"text_embedding": embedding, "text_mask": mask.bool(), "text_pooled": pooled}
    time = torch.tensor([0.3])
    with torch.inference_mode():
        expected = live.denoiser.network(latent[:1], time, embedding, mask.bool(), pooled)  # type: ignore[attr-defined]
    found = networks["denoiser"](x=latent[:1], time=time, **given)[0]
    assert torch.allclose(found, expected, atol=1e-4)


class Two(nn.Module):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Flat(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image.mean((2, 3))


def test_files_that_are_no_upscaler_are_refused_with_words(tmp_path: Path, context: Context) -> None:
    folder = tmp_path / "models" / "onnx"
    folder.mkdir(parents=True)
    picture = Image(torch.rand(1, 3, 16, 16))
    example = torch.rand(1, 3, 16, 16)
    contents = {
        "noise.onnx": (b"this is no network", "cannot be run as an ONNX network"),
        "empty.onnx": (b"", "cannot be run as an ONNX network"),
        "two.onnx": (export(Two(), {"a": example, "b": example}, ["c"], {}), "takes 2 inputs"),
        "flat.onnx": (export(Flat(), {"image": example}, ["mean"], {}), "which is no picture"),
    }
    for name, (content, words) in contents.items():
        (folder / name).write_bytes(content)
        with pytest.raises(ValueError, match=words):
            RunOnnx(context, picture, name)


def test_an_onnx_file_that_names_another_file_is_not_followed(tmp_path: Path) -> None:
    """External data would let a file read any other."""
    onnx = pytest.importorskip("onnx")
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(12 * 4))
    model = onnx.load_model_from_string(SHIPPED.read_bytes())
    tensor = next(one for one in model.graph.initializer if math.prod(one.dims) == 12)
    onnx.external_data_helper.set_external_data(tensor, str(secret))
    tensor.ClearField("raw_data")
    path = tmp_path / "outside.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="cannot be run as an ONNX network"):
        OnnxNetwork(path)


def test_without_spandrel_the_message_says_what_to_install(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real import that fails, as where torchvision is of another build than torch."""
    (tmp_path / "spandrel.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    folder = tmp_path / "models" / "upscalers"
    folder.mkdir(parents=True)
    save_file({"model.0.weight": torch.zeros(1)}, folder / "esrgan.safetensors")
    with pytest.raises(ValueError, match=r"torchvision::nms does not exist\).*nodegraph\[upscalers\]"):
        Upscale(context, Image(torch.rand(1, 3, 8, 8)), "esrgan.safetensors")


SPANDREL = """
import torch
loads = 0
class ImageModelDescriptor:
    input_channels = output_channels = 3
    scale = 2
    def __init__(self, weight):
        self.model = torch.nn.ConvTranspose2d(3, 3, 2, 2, bias=False)
        self.model.weight = torch.nn.Parameter(weight)
    def eval(self):
        self.model.eval()
        return self
    def __call__(self, image):
        return self.model(image)
class ModelLoader:
    def __init__(self, device):
        assert device == "cpu"
    def load_from_state_dict(self, weights):
        global loads
        loads += 1
        return ImageModelDescriptor(weights["weight"])
"""


def test_an_upscaler_checkpoint_is_loaded_once_and_held_by_the_pool(
    tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module with spandrel's interface, since its torchvision does not import beside a CPU build of torch."""
    (tmp_path / "spandrel.py").write_text(SPANDREL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "spandrel", raising=False)
    folder = tmp_path / "models" / "upscalers"
    folder.mkdir(parents=True)
    doubling = torch.eye(3)[:, :, None, None].expand(3, 3, 2, 2).contiguous()
    save_file({"weight": doubling}, folder / "twice.safetensors")
    picture = torch.rand(1, 3, 8, 8)
    for _ in range(3):
        made = Upscale(context, Image(picture), "twice.safetensors").tensor
    assert torch.equal(made, functional.interpolate(picture, scale_factor=2, mode="nearest"))
    import spandrel

    assert spandrel.loads == 1
    assert context.models.used("cpu") >= doubling.nbytes
    save_file({"weight": 0.5 * doubling}, folder / "twice.safetensors")  # another file under the old name
    assert torch.equal(Upscale(context, Image(picture), "twice.safetensors").tensor, 0.5 * made)
    monkeypatch.delitem(sys.modules, "spandrel")


def test_a_pickle_among_the_upscalers_is_refused(tmp_path: Path, context: Context) -> None:
    folder = tmp_path / "models" / "upscalers"
    folder.mkdir(parents=True)
    torch.save({"a": torch.zeros(1)}, folder / "esrgan.pth")
    with pytest.raises(ValueError, match="PyTorch pickle"):
        Upscale(context, Image(torch.rand(1, 3, 8, 8)), "esrgan.pth")


def test_names_outside_the_folder_are_refused(context: Context) -> None:
    with pytest.raises(FileRefused, match="not a relative name"):
        Upscale(context, Image(torch.rand(1, 3, 8, 8)), "../secret.onnx")
