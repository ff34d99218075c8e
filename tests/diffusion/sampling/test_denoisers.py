"""Predictions convert into each other exactly; wrappers give networks what they were trained on."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nodegraph.diffusion.sampling.analytic import Gaussian
from nodegraph.diffusion.sampling.denoisers import denoised, denoiser, predicted
from nodegraph.diffusion.sampling.inpainting import blended
from nodegraph.diffusion.sampling.samplers import SAMPLERS
from nodegraph.diffusion.sampling.schedules import sigma_to_timestep
from nodegraph.diffusion.values import Parametrization, Prediction

X = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
CLEAN = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("prediction", ["eps", "v", "flow", "x0"])
@pytest.mark.parametrize("sigma", [0.03, 1.0, 14.6])
def test_round_trip(prediction: Prediction, sigma: float) -> None:
    output = predicted(prediction, CLEAN, X, sigma)
    assert torch.allclose(denoised(prediction, output, X, sigma), CLEAN, rtol=0, atol=1e-14)


@pytest.mark.parametrize("sigma", [0.1, 2.0])
def test_each_prediction_is_its_definition(sigma: float) -> None:
    noise = (X - CLEAN) / sigma
    a = 1 / (1 + sigma**2)
    assert torch.allclose(predicted("eps", CLEAN, X, sigma), noise)
    velocity = math.sqrt(a) * noise - math.sqrt(1 - a) * CLEAN
    assert torch.allclose(predicted("v", CLEAN, X, sigma), velocity, atol=1e-13)
    assert torch.allclose(predicted("flow", CLEAN, X, sigma), noise - CLEAN)


@pytest.mark.parametrize(
    ("prediction", "law"), [("eps", "scaled_linear"), ("v", "linear"), ("flow", "flow"), ("x0", "continuous")]
)  # fmt: skip
def test_a_perfect_network_makes_the_exact_denoiser(prediction: Prediction, law: str) -> None:
    data = Gaussian(0.7, 0.25)
    parametrization = Parametrization(prediction, law, 0.03, 14.0)  # type: ignore[arg-type]
    for sigma in (0.05, 1.0, 12.0):
        scale = 1 / (1 + sigma) if law == "flow" else 1 / math.sqrt(1 + sigma**2)
        seen: list[float] = []

        def network(
            scaled: Tensor, time: Tensor, sigma: float = sigma, scale: float = scale, seen: list[float] = seen
        ) -> Tensor:
            seen.append(float(time[0]))
            x = scaled / scale
            return predicted(prediction, data.denoise(x, sigma), x, sigma)

        found = denoiser(network, parametrization)(X, sigma)
        assert torch.allclose(found, data.denoise(X, sigma), atol=1e-12)
        expected = {
            "flow": sigma / (1 + sigma),
            "continuous": math.log(sigma) / 4,
        }.get(law, sigma_to_timestep(parametrization, sigma))
        assert seen == [pytest.approx(expected)]


def test_blending_keeps_exactly_what_the_mask_does_not_cover() -> None:
    data = Gaussian(0.7, 0.25)
    known = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(1, 1, 6, 6)
    mask[..., 2:4, 2:4] = 1
    noise = torch.randn(1, 2, 6, 6, generator=torch.Generator().manual_seed(3))
    denoise = blended(data.denoise, known, mask, noise)
    for name in ("euler", "dpmpp_2m", "heun", "dpmpp_sde"):
        for step in SAMPLERS[name](denoise, known + 10 * noise, [10.0, 3.0, 1.0, 0.3, 0.0], torch.randn_like):
            pass
        kept = (mask == 0).expand_as(known)
        assert torch.equal(step.x[kept], known[kept]), name
        assert not torch.allclose(step.x[~kept], known[~kept], atol=0.05), name
