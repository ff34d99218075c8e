"""Training: losses against closed forms, a network that learns, an average that follows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nodegraph.diffusion.networks.autoencoder import Autoencoder
from nodegraph.diffusion.networks.dit import DiT
from nodegraph.diffusion.networks.text import MAX_TOKENS, TextNetwork, Vocabulary, split
from nodegraph.diffusion.training.steps import Average, autoencoder_loss, flow_loss, optimise, warm_up_then_decay


def test_the_flow_loss_of_a_perfect_predictor_is_the_irreducible_one() -> None:
    """For N(m, V), E|u - E[u | x_t]|^2 = V / (t^2 + (1 - t)^2 V) at each time t."""
    mean, variance = 0.7, 0.25
    clean = mean + variance**0.5 * torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))

    def predict(x: Tensor, time: Tensor) -> Tensor:
        t = time[:, None]
        total = t**2 + (1 - t) ** 2 * variance
        centred = x - (1 - t) * mean
        return centred * (t - (1 - t) * variance) / total - mean

    times = torch.sigmoid(torch.randn(200_000, generator=torch.Generator().manual_seed(1)))
    floor = float((variance / (times**2 + (1 - times) ** 2 * variance)).mean())
    best = float(flow_loss(predict, clean, torch.Generator().manual_seed(2)))
    assert best == pytest.approx(floor, rel=0.02)
    worse = float(flow_loss(lambda x, t: predict(x, t) + 0.1, clean, torch.Generator().manual_seed(2)))
    assert worse == pytest.approx(floor + 0.01, rel=0.02)


def small() -> tuple[TextNetwork, DiT]:
    torch.manual_seed(0)
    return TextNetwork(10, 2, width=16, depth=1, heads=2), DiT(2, 4, width=32, depth=2, heads=2, text_width=16)


def trained(steps: int) -> tuple[list[float], list[Tensor]]:
    text, denoiser = small()
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(4, 2, 4, 4, generator=generator)
    ids = torch.zeros(4, MAX_TOKENS, dtype=torch.int64)
    ids[:, 0] = torch.arange(1, 5)
    style = torch.eye(3)[[0, 1, 2, 0]]
    parameters = [*text.parameters(), *denoiser.parameters()]

    def loss(_: int) -> tuple[Tensor, int]:
        return flow_loss(lambda x, t: denoiser(x, t, *text(ids, style)), clean, generator), 4

    optimiser = torch.optim.AdamW(parameters, lr=1e-3)
    losses = []
    for step in optimise(parameters, loss, optimiser, lambda _: 3e-3):
        losses.append(step.loss)
        if step.index + 1 == steps:
            assert step.seen == 4 * steps
            return losses, [parameter.detach().clone() for parameter in parameters]
    raise AssertionError


def test_a_network_learns_four_latents_by_their_words() -> None:
    losses, _ = trained(250)
    assert sum(losses[-20:]) < 0.4 * sum(losses[:20])


def test_training_is_the_same_every_time() -> None:
    (first, weights), (second, again) = trained(5), trained(5)
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(weights, again, strict=True))


def test_an_untrained_denoiser_predicts_nothing() -> None:
    text, denoiser = small()
    ids = torch.zeros(2, MAX_TOKENS, dtype=torch.int64)
    x = torch.randn(2, 2, 4, 4)
    assert torch.equal(denoiser(x, torch.rand(2), *text(ids, torch.eye(3)[:2])), torch.zeros_like(x))


def test_padding_does_not_matter() -> None:
    text, _ = small()
    text.eval()
    ids = torch.zeros(1, MAX_TOKENS, dtype=torch.int64)
    ids[0, 0] = 3
    embedding, mask, pooled = text(ids, torch.eye(3)[:1])
    with torch.no_grad():
        text.words.weight[0] += 100.0
    again, _, pooled_again = text(ids, torch.eye(3)[:1])
    assert mask.sum() == 2
    assert torch.allclose(embedding[mask], again[mask], atol=1e-5)
    assert torch.allclose(pooled, pooled_again, atol=1e-5)


def test_principal_components_are_a_fair_start() -> None:
    torch.manual_seed(0)
    smooth = nn.functional.interpolate(torch.rand(64, 3, 4, 4), size=32, mode="bicubic").clamp(0, 1)
    model = Autoencoder(12, 32)
    before = float(autoencoder_loss(model, smooth, torch.Generator().manual_seed(0)).detach())
    model.start_from_components(smooth)
    after = float(autoencoder_loss(model, smooth, torch.Generator().manual_seed(0)).detach())
    assert after < before / 5
    error = (model.decode(model.encode(smooth)) - smooth).square().mean().detach()
    assert float(-10 * error.log10()) > 25


def test_directions_in_which_pictures_do_not_vary_are_not_magnified() -> None:
    """Grey pictures have 16 directions of 48; the seventeenth is rounding alone."""
    torch.manual_seed(0)
    grey = torch.rand(64, 1, 32, 32, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    model = Autoencoder(20, 32)
    model.start_from_components(grey)
    with torch.no_grad():
        spread = model.project(grey * 2 - 1).std((0, 2, 3))
    assert spread[:16].min() > 0.5
    assert spread[16:].max() < 0.01
    error = (model.decode(model.encode(grey)) - grey).square().mean().detach()
    assert float(-10 * error.log10()) > 25


def test_the_average_follows_and_forgets() -> None:
    network = nn.Linear(1, 1)
    average = Average(network, 0.9)
    with torch.no_grad():
        network.weight.fill_(5.0)
    for step in range(200):
        average.update(network, step)
    followed = next(average.network.parameters())
    assert float(followed) == pytest.approx(5.0, abs=1e-4)
    assert not followed.requires_grad


def test_the_rate_rises_and_falls() -> None:
    assert warm_up_then_decay(0.0, 0, 1.0, 10) == pytest.approx(0.1)
    assert warm_up_then_decay(0.0, 50, 1.0, 10) == pytest.approx(1.0)
    assert warm_up_then_decay(0.5, 50, 1.0, 10) == pytest.approx(0.505)
    assert warm_up_then_decay(2.0, 50, 1.0, 10) == pytest.approx(0.01)


def test_words_and_characters_are_tokens() -> None:
    assert split("A Red APPLE, 红苹果!") == ["red", "apple", "红", "苹", "果"]
    vocabulary = Vocabulary.of(["red apple", "苹果"])
    tokens, unknown = vocabulary.encode("two red apples 苹")
    assert unknown == ["two"]
    assert [vocabulary.words[token - 1] for token in tokens] == ["red", "apple", "苹"]
    batch = vocabulary.batch(["red", "red apple " * 50])
    assert batch.shape == (2, MAX_TOKENS)
    assert batch[0].count_nonzero() == 1


def test_latents_keep_the_energies_of_their_channels() -> None:
    torch.manual_seed(0)
    smooth = nn.functional.interpolate(torch.rand(64, 3, 4, 4), size=32, mode="bicubic").clamp(0, 1)
    model = Autoencoder(12, 32)
    model.start_from_components(smooth)
    with torch.no_grad():
        model.calibrate(model.posterior(smooth)[0])
        latents = model.encode(smooth)
        pixels = [
            model.reconstruct(model.shift.view(1, 12, 1, 1) + one)
            - model.reconstruct(model.shift.view(1, 12, 1, 1))
            for one in (torch.eye(12) * model.scale).view(12, 12, 1, 1)
        ]
        restored = model.decode(latents)
    assert float(latents.square().mean()) == pytest.approx(1, abs=0.01)
    deviations = latents.std((0, 2, 3)).tolist()
    assert deviations == sorted(deviations, reverse=True)
    assert deviations[0] > 1.5
    shown = [float(change.square().sum()) for change in pixels]
    assert shown == pytest.approx([shown[0]] * 12, rel=1e-4)
    assert float((restored - smooth).square().mean()) < 0.001


def test_shifted_times_are_noisier() -> None:
    clean = torch.zeros(20_000, 1)
    drawn: list[Tensor] = []

    def predict(x: Tensor, time: Tensor) -> Tensor:
        drawn.append(time)
        return x

    for shift, spread in ((1.0, 1.0), (3.0, 1.0), (1.0, 2.0)):
        flow_loss(predict, clean, torch.Generator().manual_seed(0), shift, spread)
    plain, shifted, spread_out = drawn
    assert torch.allclose(spread_out.logit(), 2 * plain.logit(), atol=1e-3)
    assert torch.allclose(shifted, 3 * plain / (1 + 2 * plain), atol=1e-6)
    assert float(plain.median()) == pytest.approx(0.5, abs=0.01)
    assert float(shifted.median()) == pytest.approx(0.75, abs=0.01)
