"""Wrong tokens, counted by the address that they come from, so that nobody tries them by the million."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from nodegraph.serve.refuse import Refused

ALLOWED = 10
WINDOW = 60.0
ADDRESSES = 10_000


@dataclass
class Guesses:
    """At most `ALLOWED` wrong tokens from an address within `WINDOW` seconds; then it waits, right or wrong.

    A right token is not looked at either while an address waits: else guessing would go on at full speed. Sessions
    that are open are not asked. An IPv6 address counts with its network of 64 bits, which one machine has whole.

    Args:
        clock: seconds that never go back.
    """

    clock: Callable[[], float] = time.monotonic
    _wrong: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)

    def check(self, address: str | None) -> None:
        """Raise Refused, `busy` with Retry-After, where an address has to wait."""
        times = self._wrong.get(_network(address))
        if times is None or len(times) < ALLOWED:
            return
        left = times[0] + WINDOW - self.clock()
        if left > 0:
            seconds = math.ceil(left)
            raise Refused(
                "busy",
                f"{ALLOWED} wrong tokens came from this address; it is heard again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )

    def wrong(self, address: str | None) -> None:
        """Count a wrong token."""
        network = _network(address)
        self._wrong.setdefault(network, deque(maxlen=ALLOWED)).append(self.clock())
        self._wrong.move_to_end(network)
        if len(self._wrong) > ADDRESSES:
            self._wrong.popitem(last=False)


def _network(address: str | None) -> str:
    """What shares one count."""
    try:
        known = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return ""
    if known.version == 4:
        return str(known)
    mapped = known.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.ip_network((known, 64), strict=False))
