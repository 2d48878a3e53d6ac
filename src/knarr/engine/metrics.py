"""What the engine counts of its own doings, and the text format in which Prometheus reads figures.

The format: prometheus.io/docs/instrumenting/exposition_formats, version 0.0.4. Names are those of dockerd.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Labels = Mapping[str, str]


class Timer:
    """How long something took, by one label's value: Prometheus's histogram of seconds."""

    def __init__(self, name: str, help: str, label: str, values: Iterable[str]) -> None:
        self._name = name
        self._help = help
        self._label = label
        self._counts = {value: [0] * (len(_BOUNDS) + 1) for value in values}
        self._sums = dict.fromkeys(self._counts, 0.0)

    @contextmanager
    def measure(self, value: str) -> Iterator[None]:
        """Count what is done inside, unless it fails."""
        start = time.perf_counter()
        yield
        self.observe(value, time.perf_counter() - start)

    def observe(self, value: str, seconds: float) -> None:
        """Count one of so many seconds."""
        self._counts[value][bisect_left(_BOUNDS, seconds)] += 1
        self._sums[value] += seconds

    def lines(self) -> Iterator[str]:
        """Its text."""
        yield from _head(self._name, "histogram", self._help)
        for value, counts in sorted(self._counts.items()):
            totals = list(accumulate(counts))
            for bound, total in zip((*_BOUNDS, "+Inf"), totals, strict=True):
                yield _line(f"{self._name}_bucket", {self._label: value, "le": str(bound)}, total)
            yield _line(f"{self._name}_sum", {self._label: value}, self._sums[value])
            yield _line(f"{self._name}_count", {self._label: value}, totals[-1])


class Metrics:
    """One engine's."""

    def __init__(self) -> None:
        self.container_actions = Timer(
            "engine_daemon_container_actions_seconds",
            "The number of seconds it takes to process each container action",
            "action",
            ("changes", "commit", "create", "delete", "start"),
        )
        self.health_checks = 0
        self.failed_health_checks = 0


def family(kind: str, name: str, help: str, samples: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    """The text of a gauge or a counter with any number of samples."""
    yield from _head(name, kind, help)
    for labels, value in samples:
        yield _line(name, labels, value)


def _head(name: str, kind: str, help: str) -> tuple[str, str]:
    return f"# HELP {name} {help}", f"# TYPE {name} {kind}"


def _line(name: str, labels: Labels, value: float) -> str:
    pairs = ",".join(f'{label}="{text.translate(_ESCAPES)}"' for label, text in labels.items())
    return f"{name}{{{pairs}}} {value}" if pairs else f"{name} {value}"
