"""What the server does -> counts in Prometheus' text format, version 0.0.4."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1.0, 2.0, 4.0, 8.0)

TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Histogram:
    """How many values were at most each of `bounds`, and their sum."""

    def __init__(self, bounds: Sequence[float]):
        self._bounds, self._counts, self._sum = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float | int) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> Iterator[str]:
        """Prometheus' lines; each bucket counts those below it too."""
        total = 0
        for bound, count in zip((*(f"{bound:g}" for bound in self._bounds), "+Inf"), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {total}"


class Metrics:
    """Counts since the server started. `gauges` are asked when somebody looks."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.refused: Counter[str] = Counter()
        self.gone = self.deaths = self.reloads = 0
        self.seconds, self.batches = Histogram(SECONDS), Histogram(SIZES)
        self.gauges: dict[str, tuple[str, Callable[[], float | int]]] = {}

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered with `status`."""
        self.requests[route, status] += 1
        self.seconds.add(seconds)

    def text(self) -> str:
        """All of it, in Prometheus' text format."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        answered = {f'{{route="{_plain(route)}",status="{status}"}}': n for (route, status), n in self.requests.items()}
        refused = {f'{{reason="{_plain(reason)}"}}': count for reason, count in self.refused.items()}
        yield from _counter("segtrial_requests_total", "Requests answered, by route and status.", answered)
        yield from _counter("segtrial_refused_total", "Requests refused, by what was at fault.", refused)
        yield from _counter("segtrial_clients_gone_total", "Clients that left before their answer.", {"": self.gone})
        yield from _counter("segtrial_worker_deaths_total", "Processes that ended unasked.", {"": self.deaths})
        yield from _counter("segtrial_reloads_total", "Models exchanged while serving.", {"": self.reloads})
        for name, what, histogram in (
            ("segtrial_request_seconds", "From a request's headers to its answer.", self.seconds),
            ("segtrial_batch_images", "Images that went through a network together.", self.batches),
        ):
            yield from (f"# HELP {name} {what}", f"# TYPE {name} histogram", *histogram.lines(name))
        for name, (what, value) in self.gauges.items():
            yield from (f"# HELP {name} {what}", f"# TYPE {name} gauge", f"{name} {value()}")


def _counter(name: str, what: str, values: Mapping[str, int]) -> Iterator[str]:
    yield from (f"# HELP {name} {what}", f"# TYPE {name} counter")
    yield from (f"{name}{labels} {value}" for labels, value in values.items())


def _plain(word: str) -> str:
    """A label's value without what Prometheus reads as its end."""
    return re.sub(r'["\\\n]', "_", word)
