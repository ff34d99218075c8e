"""The same results as k-diffusion: one small random U-Net, the same noise, float32."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import ROOT
from torch import Tensor

from nodegraph.diffusion.proofs.probing import last
from nodegraph.diffusion.sampling.denoisers import denoiser
from nodegraph.diffusion.sampling.samplers import SAMPLERS
from nodegraph.diffusion.sampling.schedules import schedule

sys.path.insert(0, str(ROOT / "bench"))

from peers import BETAS, STABLE, k_diffusion, network  # type: ignore[import-not-found]

try:
    sampling, external = k_diffusion("sampling"), k_diffusion("external")
except ImportError as missing:
    pytest.skip(str(missing), allow_module_level=True)


NETWORK = network()
DENOISE = denoiser(NETWORK, STABLE)
START = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))


def noises() -> Callable[..., Tensor]:
    """Fresh noise, the same sequence each time this is called."""
    generator = torch.Generator().manual_seed(1)
    return lambda *_: torch.randn(START.shape, generator=generator)


def difference(a: Tensor, b: Tensor) -> float:
    assert a.dtype == b.dtype == torch.float32
    return float((a - b).abs().max())


def ours(name: str, sigmas: Tensor, **options: Any) -> Tensor:
    with torch.no_grad():
        return last(SAMPLERS[name](DENOISE, START * sigmas[0], sigmas.tolist(), noises(), **options)).x


KARRAS = schedule("karras", STABLE, 12).float()


@pytest.mark.parametrize(
    ("name", "theirs", "options", "their_options"),
    [
        ("euler", "euler", {}, {}),
        ("heun", "heun", {}, {}),
        ("dpm_2", "dpm_2", {}, {}),
        ("lms", "lms", {}, {}),
        ("dpmpp_2m", "dpmpp_2m", {}, {}),
        ("euler_ancestral", "euler_ancestral", {}, {}),
        ("euler_ancestral", "euler_ancestral", {"eta": 0.5}, {"eta": 0.5}),
        ("ddim", "euler_ancestral", {"eta": 1.0}, {}),
        ("ddpm", "euler_ancestral", {}, {}),
        ("dpm_2_ancestral", "dpm_2_ancestral", {}, {}),
        ("dpmpp_2s_ancestral", "dpmpp_2s_ancestral", {}, {}),
        ("dpmpp_sde", "dpmpp_sde", {}, {}),
        ("dpmpp_2m_sde", "dpmpp_2m_sde", {}, {}),
        ("dpmpp_2m_sde", "dpmpp_2m_sde", {"heun": True}, {"solver_type": "heun"}),
        ("dpmpp_3m_sde", "dpmpp_3m_sde", {}, {}),
    ],
)
def test_k_diffusion(name: str, theirs: str, options: dict[str, Any], their_options: dict[str, Any]) -> None:
    if theirs not in ("euler", "heun", "dpm_2", "lms", "dpmpp_2m"):
        their_options = {**their_options, "noise_sampler": noises()}
    wrapped = external.DiscreteEpsDDPMDenoiser(NETWORK, torch.cumprod(1 - BETAS, 0), quantize=False)
    theirs_found = getattr(sampling, f"sample_{theirs}")(
        wrapped, START * KARRAS[0], KARRAS, disable=True, **their_options
    )
    found = ours(name, KARRAS, **options)
    assert torch.isfinite(found).all()
    assert float(found.std()) > 0.3
    assert difference(found, theirs_found) <= 1e-4


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_k_diffusions_churn(name: str) -> None:
    """Theirs draws noise at every step from the global generator, also where it adds none; so does this one."""
    wrapped = external.DiscreteEpsDDPMDenoiser(NETWORK, torch.cumprod(1 - BETAS, 0), quantize=False)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        theirs = getattr(sampling, f"sample_{name}")(wrapped, START * KARRAS[0], KARRAS, disable=True, s_churn=4.0)
        torch.manual_seed(5)
        with torch.no_grad():
            steps = SAMPLERS[name](DENOISE, START * KARRAS[0], KARRAS.tolist(), torch.randn_like, churn=4.0)
            assert difference(last(steps).x, theirs) <= 1e-4


def test_k_diffusions_schedules() -> None:
    low, high = STABLE.sigma_min, STABLE.sigma_max
    for steps in (1, 2, 7, 30):
        for kind in ("karras", "exponential"):
            theirs = getattr(sampling, f"get_sigmas_{kind}")(steps, low, high)
            if steps > 1:
                assert torch.allclose(schedule(kind, STABLE, steps).float(), theirs, rtol=1e-5)
        wrapped = external.DiscreteEpsDDPMDenoiser(NETWORK, torch.cumprod(1 - BETAS, 0), quantize=False)
        theirs = wrapped.get_sigmas(steps) if steps > 1 else schedule("normal", STABLE, 1).float()
        assert torch.allclose(schedule("normal", STABLE, steps).float(), theirs, rtol=2e-4)


def test_k_diffusions_likelihood() -> None:
    """Theirs takes the prior to be centred at 0 and so is off by about m x / sigma_max; ours asks the denoiser."""
    from nodegraph.diffusion.sampling.analytic import Gaussian
    from nodegraph.diffusion.sampling.likelihood import log_likelihood

    data = Gaussian(0.7, 0.25)
    x = torch.full((1, 1), 0.3, dtype=torch.float64)
    torch.manual_seed(0)
    theirs, _ = sampling.log_likelihood(lambda y, s: data.denoise(y, s), x, 1e-2, 1e2, atol=1e-8, rtol=1e-8)
    *_, found = log_likelihood(data.denoise, x, 1e-2, 1e2, steps=200)
    assert float(found.log_p) == pytest.approx(-0.5458, abs=3e-4)
    assert abs(float(theirs) + 0.5458) > 3e-3
    assert float(found.log_p) == pytest.approx(float(theirs), abs=0.01)
