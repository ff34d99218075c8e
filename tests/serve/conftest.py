"""What the tests of the server share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serving import Live

from nodegraph.home import Home


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A service with one worker; a test leaves it idle and unpaused."""
    folder = tmp_path_factory.mktemp("home")
    found = Live(Home(folder, folder / "cache"))
    yield found
    found.close()
