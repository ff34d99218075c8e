"""The self-test finds nothing where all is right, and finds a sampler that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from torch import Tensor

from nodegraph.diffusion.proofs import oracles
from nodegraph.diffusion.sampling.samplers import SAMPLERS
from nodegraph.diffusion.sampling.stepping import Denoise, Noise, Step, pairs, toward

if TYPE_CHECKING:
    from conftest import Shell


def test_everything_holds_here() -> None:
    findings = list(oracles.selftest())
    assert len(findings) >= 100
    assert len({finding.what for finding in findings}) == len(findings)
    assert [finding.what for finding in findings if not finding.holds] == []
    page = (ROOT / "docs" / "theory.md").read_text("utf-8")
    assert f"{len(findings)} rows in all" in page
    for workflow in (ROOT / "workflows" / "theory").glob("*.json"):
        assert f"images/{workflow.stem}.png" in page or f"theory/{workflow.stem}.json" in page


def test_a_wrong_sampler_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def off_by_a_little(
        denoise: Denoise, x: Tensor, sigmas: Sequence[float], noise: Noise, **_: Any
    ) -> Iterator[Step]:
        for index, sigma, sigma_next in pairs(sigmas):
            clean = denoise(x, sigma * 1.01)
            x = toward(x, clean, sigma, sigma_next)
            yield Step(index, x, clean, sigma, sigma_next)

    monkeypatch.setitem(SAMPLERS, "heun", off_by_a_little)
    monkeypatch.setattr(oracles, "ORDERS", [oracle for oracle in oracles.ORDERS if oracle.sampler == "heun"])
    monkeypatch.setattr(oracles, "VARIANCES", [])
    monkeypatch.setattr(oracles, "IDENTITIES", [])
    wrong = [finding.what for finding in oracles.selftest() if not finding.holds]
    assert wrong[0] == "heun: order of convergence"
    assert "classifier-free guidance at scale 3: largest error" in wrong


def test_an_identity_is_with_a_formula_and_not_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break the step that ddim, ddpm and euler_ancestral share: all of their rows must notice."""
    from nodegraph.diffusion.sampling import stochastic

    monkeypatch.setattr(stochastic, "toward", lambda x, clean, s, t: clean + (t / s) ** 1.01 * (x - clean))
    for name, options, _, reference in oracles.IDENTITIES:
        error = oracles.identity_error(name, options, reference)
        assert (error > 1e-3) == (name != "euler"), name


def test_the_command(shell: Shell) -> None:
    done = shell("selftest")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1] == "everything holds"
    assert "heun: order of convergence" in done.stdout
