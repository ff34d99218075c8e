"""Styles: read off samples, learnt with their codes, mixed by mixing codes, and a loss that asks for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import ROOT
from nodegraph.nodes import datasets as d
from nodegraph.nodes import models as m
from nodegraph.nodes import sampling as s
from nodegraph.nodes import training as t
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from nodegraph import Context
from nodegraph.cache.codec import decode, encode
from nodegraph.diffusion.live import Loaded
from nodegraph.diffusion.models import trained
from nodegraph.diffusion.networks.style import StyleReader, statistics
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.training import learning
from nodegraph.diffusion.training.values import Dataset, TrainingLog
from nodegraph.diffusion.values import Conditioning, Image, Latent, Sigmas, StyleCode
from nodegraph.engine import Engine
from nodegraph.home import Home
from nodegraph.workflow import Workflow

STYLES = ("plain", "grain")


def grained(amplitude: float = 0.06) -> Dataset:
    """Digits, and the same digits under a checkerboard so faint that it is a thousandth of their variance."""
    base = d.DatasetDigits()
    grey = 0.1 + 0.8 * learning.pictures(base, slice(None))
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2 - 1
    both = torch.cat([grey, grey + amplitude * board])
    style = torch.arange(2).repeat_interleave(len(grey))
    return Dataset(
        (both * 255).round().byte(), base.captions * 2, base.labels.repeat(2), base.classes, style, STYLES
    )


class Styled:
    """A small model trained on the grained digits, and a linear probe fitted to the real ones."""

    def __init__(self, style_weight: float, steps: int = 40) -> None:
        data = grained()
        real = learning.latents(data, None, "cpu").flatten(1).numpy()
        self.probe = LogisticRegression(max_iter=300).fit(real[::3], data.style[::3].numpy())
        found = t.TrainDiffusion(
            Context("train"), data, condition="nothing", steps=steps, learning_rate=3e-3, average=0.9,
            loss=t.DiffusionLoss("v", reconstruction=0.01, style=style_weight),
            size=t.DenoiserSize(width=64, depth=2, patch=2, text_width=32, text_depth=0),
        )  # fmt: skip
        self.log: TrainingLog = found.log
        checkpoint = trained.checkpoint(found.weights)
        self.parametrization = trained.describe(checkpoint, None).model.parametrization
        self.live: Loaded = trained.load(checkpoint, None, "cpu")

    def grain(self, styles: dict[str, float], count: int = 24) -> Tensor:
        """How surely the probe sees grain in samples of a mixture of styles."""
        return torch.from_numpy(self.probe.predict_proba(self.paint(styles, count).flatten(1).numpy())[:, 1])

    def paint(self, styles: dict[str, float], count: int) -> Tensor:
        positive: Conditioning = self.live.text_encoder.encode("", styles)
        sigmas = Sigmas(schedule("karras", self.parametrization, 12))
        blank = Latent(torch.zeros(count, 1, 8, 8))
        for step in sample(self.live.denoiser, blank, sigmas, positive, name="dpmpp_2m", seed=5):
            result = step.x
        return result.clamp(-1, 1).clone()

    def confusion(self) -> float:
        """The probe's mean cross-entropy on samples of both styles."""
        plain, grain = self.grain({"plain": 1.0}), self.grain({"grain": 1.0})
        return float(-(torch.cat([1 - plain, grain]) + 1e-9).log().mean())


@pytest.fixture(scope="module")
def with_style() -> Styled:
    return Styled(0.02)


def test_a_linear_probe_recovers_the_style_from_samples(with_style: Styled) -> None:
    right = torch.cat([with_style.grain({"plain": 1.0}) < 0.5, with_style.grain({"grain": 1.0}) > 0.5])
    assert float(right.double().mean()) > 0.9


def test_a_mixture_is_monotone_in_its_weight(with_style: Styled) -> None:
    means = [float(with_style.grain({"plain": 1 - w, "grain": w}).mean()) for w in (0, 0.25, 0.5, 0.75, 1)]
    assert means == sorted(means)
    assert means[0] < 0.2 < 0.8 < means[-1]


def test_the_style_part_of_the_loss_is_what_makes_a_faint_style_learnt(with_style: Styled) -> None:
    """At equal steps and seed; the diffusion part alone hardly sees a thousandth of the variance."""
    without = Styled(0.0)
    assert with_style.confusion() < 0.6 * without.confusion()


def test_the_reported_parts_sum_to_the_total(with_style: Styled) -> None:
    columns, rows = with_style.log.columns, with_style.log.rows
    assert columns == ("step", "diffusion", "reconstruction", "style", "total", "held out")
    assert torch.allclose(rows[:, 1:4].sum(1), rows[:, 4], atol=1e-6)
    assert float(rows[-1, 3]) < 0.7 * float(rows[0, 3])


def test_the_reader_reads_and_its_error_has_a_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.randn(200, 2, 4, 4, generator=generator).repeat_interleave(2, 2).repeat_interleave(2, 3)
    rough = torch.randn(200, 2, 8, 8, generator=generator)
    style = torch.arange(2).repeat_interleave(200)
    both = torch.cat([smooth, rough])
    reader = StyleReader(both[::2], style[::2], 2)
    assert float((reader.scores(both[1::2]).argmax(1) == style[1::2]).double().mean()) > 0.95
    sample_ = rough[:4].clone().requires_grad_()
    asked = torch.tensor([0, 0, 1, -1])
    error = reader.error(sample_, asked)
    assert error[0] > error[2]
    assert error[3] == 0
    error.sum().backward()
    assert sample_.grad is not None
    assert float(sample_.grad[0].norm()) > 0 == float(sample_.grad[3].norm())
    assert statistics(both).shape == (400, 8)


def test_the_embedded_model_blends_styles_step_by_step(engine: Engine) -> None:
    """The shipped workflow at two seeds: the further the weight, the further from the first style's picture."""
    workflow = Workflow.load(ROOT / "workflows" / "style_mix.json")
    targets = [f"decode_{k}" for k in range(5)]
    result = engine.run(workflow, values={"schedule.steps": 12, "blank.batch_size": 2}, targets=targets)
    blends = torch.stack([result[name]["image"].tensor for name in targets])
    from_first = (blends - blends[0]).square().flatten(1).mean(1).tolist()
    from_last = (blends - blends[4]).square().flatten(1).mean(1).tolist()
    assert from_first == sorted(from_first)
    assert from_last == sorted(from_last, reverse=True)
    assert from_first[-1] > 3 * from_first[1] > 0


def test_the_embedded_models_styles_are_read_off_pictures_that_it_paints(tmp_path: Path) -> None:
    """Each style is read more in what was painted in it than in the same things painted in the others."""
    context = Context("n", files=Home(tmp_path, tmp_path).files(output=tmp_path))
    model, encoder, vae = m.LoadModel(context, "emoji")
    sigmas, blank = s.Schedule(model, steps=6), s.EmptyLatent(vae, batch_size=6)
    things = "\n".join(["red heart", "red apple", "cat face", "dog face", "grinning face", "pizza"])
    rows = []
    for style in encoder.styles:
        words = m.EncodeEach(context, encoder, things, style)
        latent = s.Sampler(context, model, words, blank, sigmas, seed=3, guidance_scale=1)
        painted = m.VAEDecode(context, vae, latent)
        together = m.StyleEncode(context, encoder, painted)
        rows.append([share for _, share in together.code.shares])
        each = [dict(m.StyleEncode(context, encoder, Image(one[None])).code.shares) for one in painted.tensor]
        assert rows[-1] == pytest.approx([sum(one[name] for one in each) / 6 for name in encoder.styles], abs=1e-5)
        assert sum(rows[-1]) == pytest.approx(1)
        assert together.name == max(together.code.shares, key=lambda one: one[1])[0]
    shares = torch.tensor(rows)
    others = (shares.sum(0) - shares.diag()) / 3
    assert bool((shares.diag() > others).all()), shares
    assert float((shares.diag() - others).mean()) > 0.15


def test_a_code_asks_for_a_style_as_its_name_does(tmp_path: Path) -> None:
    context = Context("n", files=Home(tmp_path, tmp_path).files(output=tmp_path))
    _, encoder, _ = m.LoadModel(context, "emoji")
    by_name = m.Encode(context, encoder, "red heart", "twemoji").conditions[0]
    by_code = m.Encode(context, encoder, "red heart", code=StyleCode((("twemoji", 1.0),))).conditions[0]
    assert torch.equal(by_name.embedding, by_code.embedding)  # type: ignore[arg-type]
    half = StyleCode((("twemoji", 0.5), ("3d", 0.5)))
    mixed = m.StyleMix(context, encoder, "red heart", "3d", "twemoji", 0.5).conditions[0]
    coded = m.Encode(context, encoder, "red heart", code=half).conditions[0]
    assert torch.allclose(coded.embedding, mixed.embedding)  # type: ignore[arg-type]
    assert decode(encode({"code": half}))["code"] == half
    with pytest.raises(ValueError, match="both a style and a style code"):
        m.Encode(context, encoder, "red heart", "3d", half)
    picture = Image(torch.full((1, 4, 20, 30), 0.5))
    assert m.StyleEncode(context, encoder, picture).lines.count("%") == len(encoder.styles)
    _, numbers, _ = m.LoadModel(context, "analytic://dataset")
    with pytest.raises(ValueError, match="knows no styles"):
        m.StyleEncode(context, numbers, picture)
    with pytest.raises(ValueError, match="at least one style"):
        StyleCode(())


def test_a_model_trained_in_a_graph_has_no_reader(with_style: Styled) -> None:
    with pytest.raises(ValueError, match="no reader of styles"):
        with_style.live.text_encoder.read(torch.zeros(1, 3, 8, 8))  # type: ignore[attr-defined]
