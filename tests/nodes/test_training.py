"""Training nodes: what they learn, how they report, and that they go on after being killed."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from catalogs import known_catalogs
from nodegraph.nodes import datasets as d
from nodegraph.nodes import guidance as g
from nodegraph.nodes import models as m
from nodegraph.nodes import sampling as s
from nodegraph.nodes import trained_models as tm
from nodegraph.nodes import training as t

from nodegraph import Context, Graph, events
from nodegraph.diffusion.checkpoints.listing import listed
from nodegraph.diffusion.models import trained
from nodegraph.diffusion.training.values import Dataset
from nodegraph.diffusion.values import Adapter, Checkpoint, Image
from nodegraph.engine import Engine
from nodegraph.errors import Cancelled
from nodegraph.files import Files

TINY = t.DenoiserSize(width=64, depth=2, patch=2, text_width=32, text_depth=1)


def bars(count: int = 64) -> Dataset:
    """Pictures of two kinds, a dark left or a dark right half, with words and classes."""
    left = torch.ones(3, 8, 8)
    left[..., :4] = 0
    shown = torch.stack([left, left.flip(-1)] * (count // 2))
    words = "\n".join(["dark left", "dark right"] * (count // 2))
    found = d.DatasetFromImages(Image(shown), words)
    labels = torch.arange(count) % 2
    return Dataset(found.pictures, found.captions, labels, ("left", "right"), found.style, ())


def graph(steps: int = 12, **values: object) -> Graph:
    """Digits, a training, its curve and its model saved."""
    whole = Graph("Training")
    data = whole.add(d.DatasetDigits, id="data")
    size = whole.add(t.DenoiserSize, id="size", width=32, depth=1, patch=4, text_width=16, text_depth=0)
    train = whole.add(
        t.TrainDiffusion,
        id="train",
        dataset=data,
        size=size,
        condition="class",
        steps=steps,
        batch_size=8,
        **values,
    )
    whole.add(tm.LossCurve, id="curve", log=train.log)
    whole.add(tm.SaveModel, id="save", weights=train.weights, name="digits", half=False)
    return whole


@pytest.mark.parametrize("width", [16, 112, 304])
def test_a_network_of_any_width_that_is_offered_can_be_trained(width: int) -> None:
    trained = t.TrainDiffusion(Context("train"), bars(), size=t.DenoiserSize(width, 1), steps=1, batch_size=2)
    assert trained.weights.tensors


def test_a_sheet_of_samples_is_of_the_model_that_it_is_given() -> None:
    """Adapters, another parametrization, words that were taught: as a Sampler has it, not as the file has it."""
    found = t.TrainDiffusion(Context("train"), bars(), size=TINY, steps=2, batch_size=2)
    model, encoder, vae = tm.UseWeights(found.weights)
    with pytest.raises(ValueError, match="x is no longer where it was"):
        tm.SampleGrid(Context("grid"), replace(model, adapters=(Adapter("x", "d", 1.0),)), encoder, vae, steps=2)


@pytest.mark.parametrize("prediction", ["eps", "v", "flow"])
def test_it_learns_which_words_mean_which_picture(prediction: str) -> None:
    told: list[events.Event] = []
    context = Context("train", listen=told.append)
    found = t.TrainDiffusion(
        context, bars(), size=TINY, loss=t.DiffusionLoss(prediction, min_snr=5), steps=150, batch_size=32,
        learning_rate=3e-3, average=0.97,
    )  # fmt: skip
    model, encoder, vae = tm.UseWeights(found.weights)
    sheet = tm.SampleGrid(context, model, encoder, vae, "dark left\ndark right", columns=4, steps=12)
    grid = sheet.tensor
    assert grid.shape == (1, 3, 2 * 16 + 8, 4 * 16 + 8)
    for row, dark in ((0, slice(0, 4)), (1, slice(4, 8))):
        for column in range(4):
            y, x = 8 + 16 * row, 8 + 16 * column
            picture = grid[0, 0, y : y + 8, x : x + 8]
            bright = (picture.sum() - picture[:, dark].sum()) / 32
            assert float(picture[:, dark].mean()) < 0.25 < 0.75 < float(bright)
    log = found.log
    assert log.columns == ("step", "diffusion", "total", "held out")
    first, last = log.rows[:10, 2].mean(), log.rows[-10:, 2].mean()
    assert last < 0.6 * first
    assert log.rows[-1, 3] < 0.7 * log.rows[0, 3]
    notes = [event.note for event in told if isinstance(event, events.Progress)]
    assert re.fullmatch(r"loss \d+\.\d{4}, \d+ images/s", notes[0])


def test_the_variance_of_its_steps_is_learned_beside() -> None:
    """Twice the channels, one more part of the loss, and a sampler that asks for them; others paint as before."""
    context = Context("train")
    loss = t.DiffusionLoss("eps", min_snr=5, variance=1.0)
    found = t.TrainDiffusion(context, bars(), size=TINY, loss=loss, steps=120, batch_size=32, learning_rate=3e-3)
    assert found.log.columns == ("step", "diffusion", "variance", "total", "held out")
    assert float(found.log.rows[-10:, 2].mean()) < float(found.log.rows[:10, 2].mean())
    model, encoder, vae = tm.UseWeights(found.weights)
    words, nothing = m.Encode(context, encoder, "dark left"), m.Encode(context, encoder, "")
    sigmas, blank = s.Schedule(model, "simple", steps=20), s.EmptyLatent(vae, batch_size=4)

    def painted(sampler: str, **options: object) -> torch.Tensor:
        return s.Sampler(
            context, model, words, blank, sigmas, nothing, sampler, guidance_scale=2, **options
        ).tensor

    learned, small, large = map(painted, ("ddpm_learned_range", "ddpm", "ddpm_fixed_large"))
    assert learned.shape == (4, 3, 8, 8)
    assert float((learned[..., 4:] - learned[..., :4]).mean()) > 1
    assert float((learned - small).abs().max()) > 1e-3 < float((learned - large).abs().max())
    limited = painted("ddpm_learned_range", guidance=g.LimitGuidance(None, 0.2, 0.6))
    assert torch.isfinite(limited).all()
    masked = s.Latent(blank.tensor, torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match="does not inpaint"):
        s.Sampler(context, model, words, masked, sigmas, nothing, "ddpm_learned_range")
    other, encoder, vae = m.LoadModel(context, "analytic://gaussian?size=8")
    with pytest.raises(ValueError, match="has not learned the variance"):
        s.Sampler(
            context, other, m.Encode(context, encoder), s.EmptyLatent(vae), sigmas, None, "ddpm_learned_range",
            guidance_scale=1,
        )  # fmt: skip


def test_what_cannot_be_learnt_is_refused() -> None:
    found = t.TrainDiffusion(Context("train"), bars(), size=TINY, condition="class", steps=1)
    live = trained.load(trained.checkpoint(found.weights), None, "cpu")
    by_name, by_number = live.text_encoder.encode("right", {}), live.text_encoder.encode("1", {})
    assert torch.equal(by_name.conditions[0].embedding, by_number.conditions[0].embedding)  # type: ignore[arg-type]
    assert live.text_encoder.unknown_words("up") == ["up"]
    with pytest.raises(ValueError, match="no classes"):
        t.TrainDiffusion(Context("train"), d.DatasetFromImages(Image(torch.rand(4, 3, 8, 8))), condition="class")
    with pytest.raises(ValueError, match="no captions"):
        t.TrainDiffusion(Context("train"), d.DatasetFromImages(Image(torch.rand(4, 3, 8, 8))))
    with pytest.raises(ValueError, match="two styles"):
        t.TrainDiffusion(Context("train"), bars(), loss=t.DiffusionLoss(style=1.0))
    with pytest.raises(ValueError, match="patches of 3"):
        t.TrainDiffusion(Context("train"), bars(), size=t.DenoiserSize(patch=3))


def test_it_is_cached_and_its_model_is_opened_by_name(engine: Engine) -> None:
    shown: list[events.Event] = []
    workflow = graph().workflow()
    result = engine.run(workflow, listen=shown.append, previews=True, targets=["curve", "save", "train"])
    saved = result.files[0]
    assert saved.parent == engine.home.models / "checkpoints"
    assert saved.name == "digits-0001.safetensors"
    assert engine.run(workflow).ran == []
    assert not list((engine.home.cache / "unfinished").iterdir())
    (line,) = listed("checkpoints", {saved.name: saved})
    assert (line.family, line.problem) == ("trained in a graph", "")
    again = Graph("Use")
    model = again.add(m.LoadModel, id="model", checkpoint="digits-0001.safetensors")
    again.add(tm.SampleGrid, id="grid", model=model.model, text_encoder=model.text_encoder, vae=model.vae,
              prompts="three", columns=2, steps=4)  # fmt: skip
    from_file = engine.run(again.workflow())["grid"]["image"].tensor
    direct = tm.UseWeights(result["train"]["weights"])
    sheet = tm.SampleGrid(Context("grid"), *direct, "three", columns=2, steps=4).tensor
    assert torch.equal(from_file, sheet)


def test_previews_are_shown_and_change_nothing(engine: Engine) -> None:
    shown: list[events.Event] = []
    workflow = graph(6).workflow()
    seen = engine.run(workflow, listen=shown.append, previews=True, targets=["train"])["train"]["weights"]
    assert any(isinstance(event, events.Preview) and event.image[:2] == b"\xff\xd8" for event in shown)
    unseen = Engine(home=engine.home, registry=engine.registry, files=engine.files, device="cpu")
    quiet = unseen.run(workflow, targets=["train"], values={"train.save_every": 3})["train"]["weights"]
    assert all(torch.equal(seen.tensors[name], quiet.tensors[name]) for name in seen.tensors)


def test_killed_again_and_again_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    """A real process, SIGKILL at whatever moment a progress line was printed, the same command again."""
    path = tmp_path / "training.json"
    graph(60, save_every=7).workflow().save(path)

    def command(home: str) -> list[str]:
        return [sys.executable, "-m", "nodegraph", "run", str(path), "--events", "--output", str(tmp_path / home)]

    def environment(home: str) -> dict[str, str]:
        return {**os.environ, "NODEGRAPH_HOME": str(tmp_path / home), "OMP_NUM_THREADS": "1"}

    with known_catalogs(tmp_path / "whole"), known_catalogs(tmp_path / "cut"):
        whole = subprocess.run(
            command("whole"), env=environment("whole"), capture_output=True, check=True, text=True
        )
        assert "goes on" not in whole.stdout
        assert "resumed" not in whole.stdout
        for last in (10, 40):
            with subprocess.Popen(
                command("cut"), env=environment("cut"), stdout=subprocess.PIPE, text=True
            ) as child:
                assert child.stdout is not None
                for line in child.stdout:
                    step = re.search(r'"progress".*"step": ?(\d+)', line)
                    if step and int(step[1]) >= last:
                        child.send_signal(signal.SIGKILL)
                        break
                child.stdout.read()
            assert child.returncode == -signal.SIGKILL
        rest = subprocess.run(command("cut"), env=environment("cut"), capture_output=True, check=True, text=True)
    resumed = re.search(r"goes on after step (\d+)", rest.stdout)
    assert resumed
    assert 35 <= int(resumed[1]) < 60
    files = [tmp_path / home / "models" / "checkpoints" / "digits-0001.safetensors" for home in ("whole", "cut")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_loss_curve_shows_what_is_in_the_log() -> None:
    found = t.TrainDiffusion(Context("train"), bars(), size=TINY, steps=20, batch_size=8)
    plain = tm.LossCurve(found.log).tensor
    assert plain.shape == (1, 3, 420, 800)
    parted = t.TrainDiffusion(
        Context("train"), bars(), size=TINY, loss=t.DiffusionLoss(reconstruction=1.0), steps=20, batch_size=8
    )
    columns = parted.log.columns
    assert columns == ("step", "diffusion", "reconstruction", "total", "held out")
    sums = parted.log.rows[:, 1] + parted.log.rows[:, 2]
    assert torch.allclose(sums, parted.log.rows[:, 3], atol=1e-6)
    colours = [{tuple(pixel) for pixel in (picture[0] * 255).flatten(1).T.int().tolist()} for picture in
               (plain, tm.LossCurve(parted.log).tensor)]  # fmt: skip
    assert (0x88, 0x44, 0xAA) in colours[1] - colours[0]  # a fourth curve


def test_a_vae_learns_its_pictures_and_a_model_is_trained_in_its_latents(tmp_path: Path) -> None:
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    places = torch.linspace(-0.5, 0.5, 40)
    shown = torch.stack([torch.stack([((x - p) ** 2 + y**2 < 0.3).float()] * 3) * 0.8 + 0.1 for p in places])
    data = d.DatasetFromImages(Image(shown), "a disc")
    first = t.TrainVAE(Context("vae"), data, channels=4, width=32, steps=1)
    found = t.TrainVAE(Context("vae"), data, channels=4, width=32, steps=60, batch_size=16, learning_rate=3e-3)
    assert found.log.columns == ("step", "reconstruction", "divergence", "total", "held out")
    context = Context("use")
    errors = []
    for vae in (first.vae, found.vae):
        latent = m.VAEEncode(context, vae, Image(shown))
        assert latent.tensor.shape == (40, 4, 4, 4)
        errors.append(float((m.VAEDecode(context, vae, latent).tensor - shown).square().mean()))
    assert errors[1] < 0.5 * errors[0]
    assert float(latent.tensor.square().mean()) == pytest.approx(1, abs=0.1)
    model = t.TrainDiffusion(Context("train"), data, vae=found.vae, size=t.DenoiserSize(32, 1, 2, 16, 0), steps=3)
    handles = tm.UseWeights(model.weights)
    assert (handles.vae.latent_channels, handles.vae.downscale, handles.vae.size) == (4, 4, 16)
    again = m.VAEDecode(context, handles.vae, latent).tensor
    assert torch.equal(again, m.VAEDecode(context, found.vae, latent).tensor)
    with pytest.raises(ValueError, match="VAE alone"):
        trained.load(found.vae.checkpoint, None, "cpu").denoiser.predict(torch.zeros(1, 4, 4, 4), 1.0, [])
    exact = m.LoadModel(Context("load"), "analytic://gaussian?size=16").vae
    with pytest.raises(ValueError, match="use one of TrainVAE"):
        t.TrainDiffusion(Context("train"), data, vae=exact)


def test_hostile_model_files_are_refused(tmp_path: Path) -> None:
    found = t.TrainDiffusion(Context("train"), bars(), size=TINY, steps=1)
    good = trained.to_bytes(found.weights)
    path = tmp_path / "model.safetensors"
    path.write_bytes(good)
    assert trained.recognises(path)
    checkpoint = Checkpoint("model", "", "trained")
    for change in (
        (b'\\"width\\":64', b'\\"width\\":96'),
        (b'\\"depth\\":2', b'\\"depth\\":9'),
        (b'\\"size\\":8', b'\\"size\\":1'),
        (b'\\"heads\\":2', b'\\"heads\\":3'),
        (b'\\"steps\\":1', b'\\"stepz\\":1'),
    ):
        assert change[0] in good
        path.write_bytes(good.replace(*change))
        with pytest.raises(ValueError, match=r"configuration|multiple of"):
            trained.load(checkpoint, path, "cpu")
    first, second = next(pair for pair in pairwise(sorted(found.weights.tensors)) if len(pair[0]) == len(pair[1]))
    path.write_bytes(good.replace(f'"{second}"'.encode(), f'"{first}"'.encode()))
    with pytest.raises(ValueError, match=f"its header says '{first}' twice"):
        trained.load(checkpoint, path, "cpu")
    path.write_bytes(good[: len(good) // 2])
    assert not trained.recognises(path)


def test_cancelled_it_keeps_its_state(engine: Engine) -> None:
    stop = threading.Event()

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Progress) and event.node == "train" and event.step == 5:
            stop.set()

    workflow = graph(12).workflow()
    with pytest.raises(Cancelled):
        engine.run(workflow, listen=listen, stop=stop)
    notes: list[str] = []
    engine.run(workflow, listen=lambda e: notes.append(e.note) if isinstance(e, events.Progress) else None)
    told = notes.index("goes on after step 6")
    after = [note for note in notes[told + 1 :] if note.startswith("loss")]
    assert len(after) == 6
    assert all(note.endswith(" images/s, resumed") for note in after)


@contextmanager
def no_room() -> Iterator[None]:
    """What a full disk does to larger files, without one: no file of this process may grow beyond a page."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_without_room_for_the_state_ends_no_training(tmp_path: Path) -> None:
    told: list[events.Event] = []
    context = Context("train", files=Files(unfinished=tmp_path), listen=told.append, key="key")
    with no_room():
        saved = t.TrainDiffusion(context, bars(), size=TINY, steps=5, save_every=2, batch_size=8).weights
    plain = t.TrainDiffusion(Context("train"), bars(), size=TINY, steps=5, batch_size=8).weights
    assert all(torch.equal(saved.tensors[name], plain.tensors[name]) for name in plain.tensors)
    notes = [event.note.partition("; ")[2] for event in told if isinstance(event, events.Progress)]
    assert notes[0] == ""
    for step in (2, 3, 4, 5):
        assert re.fullmatch(f"step {step // 2 * 2} could not be saved to go on from: .+", notes[step - 1])
    assert not list(tmp_path.iterdir())


def test_a_full_disk_does_not_hide_why_a_training_ended(tmp_path: Path) -> None:
    stop = threading.Event()
    context = Context("train", files=Files(unfinished=tmp_path), listen=lambda _: stop.set(), stop=stop, key="key")
    with no_room(), pytest.raises(Cancelled):
        t.TrainDiffusion(context, bars(), size=TINY, steps=50, batch_size=8)


def test_a_damaged_state_is_set_aside_and_the_training_starts_anew(tmp_path: Path) -> None:
    told: list[events.Event] = []
    context = Context("train", files=Files(unfinished=tmp_path), listen=told.append, key="key")
    (tmp_path / "key").write_bytes(b"no training")
    found = t.TrainDiffusion(context, bars(), size=TINY, steps=2, batch_size=8)
    assert len(found.log.rows) == 2
    first = told[0]
    assert isinstance(first, events.Progress)
    assert re.fullmatch("starts anew: .* is damaged: it cannot be read.*key.damaged", first.note)
    assert (tmp_path / "key.damaged").read_bytes() == b"no training"
