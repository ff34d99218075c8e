"""Fixtures for all tests. Nothing here stands in for the real thing."""

from __future__ import annotations

import os

# Read when torch is first imported: tests share few cores with whatever else runs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "2")

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from catalogs import known_catalogs
from hypothesis import HealthCheck, settings

from nodegraph.cache import ResultCache
from nodegraph.engine import Engine
from nodegraph.files import Files
from nodegraph.home import Home
from nodegraph.registry import Registry

ROOT = Path(__file__).parent.parent
YOURS = ROOT / "workflows" / "your_models"  # templates for model files that do not ship
pytest_plugins = ["browser"]
Shell = Callable[..., subprocess.CompletedProcess[str]]

# A default run draws the same examples every time, so that what passed once passes again and a failure is a change
# of the code. HYPOTHESIS_PROFILE=explore, as in `make test-all`, draws fresh ones.
_PATIENT = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("steady", _PATIENT, derandomize=True)
settings.register_profile("explore", _PATIENT)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """What a test draws from torch's own generator does not depend on the tests before it."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The built-in nodes, imported once."""
    return Registry.load(entry_points=False)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A user's folders, empty but for the catalog of nodes."""
    with known_catalogs(tmp_path / "home"):
        yield Home(tmp_path / "home", tmp_path / "home" / "cache")


@pytest.fixture
def files(home: Home, tmp_path: Path) -> Files:
    """Files that are read from and written to the test's own folder."""
    return home.files(output=tmp_path / "out", inputs=[tmp_path])


@pytest.fixture
def engine(home: Home, files: Files, registry: Registry) -> Engine:
    """An engine on the CPU with an empty cache."""
    return Engine(home=home, registry=registry, cache=ResultCache(), files=files, device="cpu")


@pytest.fixture
def shell(home: Home, tmp_path: Path) -> Shell:
    """Runs `nodegraph ...` as a process of its own, in the test's folder, with a home of its own."""

    def call(*arguments: str | Path, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "nodegraph", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=tmp_path,
            env={**os.environ, "NODEGRAPH_HOME": str(home.folder), **environment},
            check=False,
        )

    return call
