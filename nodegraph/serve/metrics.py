"""Figures for Prometheus, in its text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

BUCKETS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
CONTENT_TYPE = "text/plain; version=0.0.4"
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """What is counted while the server runs. Labels come from routes, never from what a client says."""

    def __init__(self) -> None:
        self.requests: Counter[Labels] = Counter()
        self.refusals: Counter[Labels] = Counter()
        self._seconds: defaultdict[Labels, list[int]] = defaultdict(lambda: [0] * (len(BUCKETS) + 1))
        self._total: Counter[Labels] = Counter()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests[("method", method), ("route", route), ("status", str(status))] += 1
        if status >= 400:
            self.refusals[(("status", str(status)),)] += 1
        if status == 101:
            return  # a websocket is answered at once and then lives for hours
        where: Labels = (("route", route),)
        self._seconds[where][bisect_left(BUCKETS, seconds)] += 1
        self._total[where] += seconds  # type: ignore[assignment]

    def text(self, gauges: Iterable[tuple[str, str, Mapping[Labels, float]]]) -> str:
        """Everything counted, and the given gauges as (name, help, values)."""
        lines = _family("nodegraph_requests_total", "counter", "Answered requests.", self.requests)
        lines += _family("nodegraph_refusals_total", "counter", "Answers of 400 and above.", self.refusals)
        name = "nodegraph_request_seconds"
        lines += [f"# HELP {name} Seconds until a request was answered.", f"# TYPE {name} histogram"]
        for labels, counts in self._seconds.items():
            below = 0
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
                below += count
                lines.append(_sample(f"{name}_bucket", (*labels, ("le", bound)), below))
            lines.append(_sample(f"{name}_sum", labels, self._total[labels]))
            lines.append(_sample(f"{name}_count", labels, below))
        for gauge, about, values in gauges:
            lines += _family(gauge, "gauge", about, values)
        return "\n".join(lines) + "\n"


def _family(name: str, kind: str, about: str, values: Mapping[Labels, float]) -> list[str]:
    samples = [_sample(name, labels, value) for labels, value in values.items()]
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}", *samples]


def _sample(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{shown}}} {value:g}" if shown else f"{name} {value:g}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
