"""Edges: lines of one pixel where they are known to be, whole, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from conftest import ROOT
from kornia.filters import canny
from nodegraph.nodes.control import FindEdges
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion.pictures.images import luminance
from nodegraph.diffusion.values import Image
from nodegraph.export import for_comfyui
from nodegraph.pictures import decode
from nodegraph.registry import Registry
from nodegraph.workflow import Workflow


def lines(picture: Tensor, low: float = 0.4, high: float = 0.8, blur: float = 1.0) -> Tensor:
    """The edges of a grey picture (H, W)."""
    found = FindEdges(Image(picture.expand(1, 3, *picture.shape)), low, high, blur).tensor
    assert found.shape == (1, 3, *picture.shape)
    assert bool(((found == 0) | (found == 1)).all())
    assert bool((found[:, 0] == found[:, 1]).all())
    return found[0, 0]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("at", [1, 15, 30])
def test_a_step_is_one_line_beside_it(at: int, turned: bool) -> None:
    picture = torch.zeros(24, 32)
    picture[:, at:] = 1
    found = lines(picture.T.contiguous()).T if turned else lines(picture)
    assert found.sum(1).tolist() == [1.0] * 24
    assert int(found[0].argmax()) in (at - 1, at)
    assert bool((found == found[0]).all()), "it is straight"


def test_a_disc_has_a_closed_rim_and_nothing_else() -> None:
    rows, columns = torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij")
    distance = ((rows - 63.5) ** 2 + (columns - 63.5) ** 2).sqrt()
    found = lines((distance < 40).float())
    assert float((distance[found > 0] - 40).abs().max()) < 1.5
    angles = torch.atan2(rows - 63.5, columns - 63.5)[found > 0].sort().values
    assert float((angles[1:] - angles[:-1]).max()) < 3 / 40, "no gap of three pixels"
    assert int(found.sum()) <= 8 * 40, "a line of pixels that touch side by side, and no band"


def test_a_faint_edge_is_kept_where_it_goes_on_from_a_strong_one() -> None:
    picture = torch.zeros(64, 32)
    picture[:, 16:] = torch.linspace(1, 0.17, 64)[:, None]  # slopes from 2.6 to 0.44
    assert int(lines(picture).sum(1)[2:62].sum()) == 60
    assert int(lines(picture, 0.8, 0.8).sum()) < 58, "alone it is too faint"
    assert int(lines(picture[40:], 0.4, 1.6).sum()) == 0


@pytest.mark.parametrize("blur", [0.5, 1.0, 3.0, 10.0])
def test_a_step_is_as_steep_under_any_blur_and_what_is_small_goes(blur: float) -> None:
    picture = torch.zeros(32, 128)
    picture[:, 64:] = 1
    assert int(lines(picture, 2.5, 2.5, blur).sum()) == 32
    assert int(lines(picture, 2.6, 2.6, blur).sum()) == 0
    picture[:, 20] = 1
    assert int(lines(picture, blur=blur)[:, :40].sum()) == (0 if blur >= 3 else 64)


def test_what_has_no_edge_gives_none() -> None:
    assert int(lines(torch.full((16, 16), 0.7)).sum()) == 0
    assert int(lines(torch.linspace(0, 1, 64).expand(64, 64)).sum()) == 0
    with pytest.raises(ValueError, match=r"low \(0.9\) must not be above high \(0.8\)"):
        lines(torch.zeros(8, 8), 0.9, 0.8)


def share_near(lines: Tensor, others: Tensor) -> float:
    """How many pixels of lines have one of the others in their place or beside it."""
    near = functional.max_pool2d(others, 3, stride=1, padding=1)
    return float((lines * near).sum() / lines.sum())


@pytest.mark.parametrize("picture", ["batch_variations", "cfg", "text_to_image", "inpaint"])
@pytest.mark.parametrize("blur", [1.0, 2.0])
def test_lines_are_those_of_kornias_canny(picture: str, blur: float) -> None:
    """Of the same grey under the same blur; ties may be broken to the one side or the other."""
    rgb = torch.as_tensor(decode((ROOT / "docs" / "images" / f"{picture}.png").read_bytes()))[None, :3]
    grey = luminance(rgb).expand(-1, 3, -1, -1)
    unit = blurred_step(1.0) / blurred_step(blur)

    def both(low: float, high: float) -> tuple[Tensor, Tensor]:
        given = (low / unit, high / unit, (int(6 * blur) + 1,) * 2, (blur, blur))
        theirs, ours = canny(grey, *given)[1], FindEdges(Image(grey), low, high, blur).tensor[:, :1]
        return ours[..., 4:-4, 4:-4], theirs[..., 4:-4, 4:-4]  # the borders are blurred in other ways

    for threshold in (0.4, 0.8):
        ours, theirs = both(threshold, threshold)
        assert int(theirs.sum()) > 1000
        assert share_near(ours, theirs) > 0.999
        assert share_near(theirs, ours) > 0.999
    strong, faint = (FindEdges(Image(grey), one, one, blur).tensor[:, :1, 4:-4, 4:-4] for one in (0.8, 0.4))
    ours, theirs = both(0.4, 0.8)
    assert share_near(theirs, ours) > 0.98
    assert bool(((strong <= ours) & (ours <= faint)).all())
    assert int(ours.sum()) < 1.5 * int(theirs.sum())


def blurred_step(blur: float) -> float:
    """How much a step from 0 to 1 rises over two pixels after a blur: the two weights in its middle."""
    weights = torch.exp(-((torch.arange(-3 * blur, 3 * blur + 1) / blur) ** 2) / 2)
    return float(2 * weights[int(3 * blur) : int(3 * blur) + 2].sum() / weights.sum()) / 2


def test_edges_of_a_batch_are_those_of_each_picture() -> None:
    shapes = sorted((ROOT / "workflows" / "datasets" / "shapes").glob("large *.png"))[:3]
    batch = torch.stack([torch.as_tensor(decode(path.read_bytes()))[:3] for path in shapes])
    together = FindEdges(Image(batch)).tensor
    for one, found in zip(batch, together, strict=True):
        assert torch.equal(FindEdges(Image(one[None])).tensor[0], found)
        assert 20 < int(found[0].sum()) < 600


def test_canny_of_comfyui_is_read_and_written(registry: Registry) -> None:
    inputs = {"image": ["1", 0], "low_threshold": 0.3, "high_threshold": 0.7}
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "cat.png"}},
        "2": {"class_type": "Canny", "inputs": inputs},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }
    read = Workflow.from_data(prompt)
    (edges,) = (spec for spec in read.nodes.values() if spec.type == "FindEdges")
    assert edges.values == {"low": 0.3, "high": 0.7}
    written = for_comfyui(read, registry.catalog)
    assert written.problems == ()
    (canny,) = (node for node in written.prompt.values() if node["class_type"] == "Canny")
    assert {**canny["inputs"], "image": None} == {**inputs, "image": None}
