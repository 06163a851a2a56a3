"""At a steady rate: how long a change takes to its trigger, and what CPU time it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.program import Arrival, Program
from benchmarks.stage import Stage, staged

OBJECTS = 200
WARM_SECONDS = 2.0  # of a run are not counted


@dataclass(frozen=True)
class Paced:
    """What one side did: latencies in ms, CPU seconds for 1,000 events of the reading and the delivering process."""

    latencies: Sequence[float]
    reader: float
    deliverer: float

    def percentile(self, share: float) -> float:
        return sorted(self.latencies)[min(int(share * len(self.latencies)), len(self.latencies) - 1)]


async def paced(rate: float, seconds: float) -> tuple[Paced, Paced]:
    """Watcher and worker with a ``log`` trigger; and a watch line -> XADD -> XREADGROUP -> line."""
    changes = int(rate * (WARM_SECONDS + seconds))
    with staged(redis=True) as stage:
        await stage.apiserver("workflow", changes, rate=rate, objects=OBJECTS)
        stage.manifests("workflow")
        worker = stage.work(piped=True)
        ours = await _observed(stage.watch(), worker, changes, int(rate * WARM_SECONDS))
    with staged(redis=True) as stage:
        bare = await _bare(stage, changes, rate)
    return ours, bare


async def _bare(stage: Stage, changes: int, rate: float) -> Paced:
    url = await stage.apiserver("workflow", changes, rate=rate, objects=OBJECTS)
    consumer = stage.bare("consume", "follow", stage.redis_url, 0)
    publisher = stage.bare("publish", f"{url}/apis/argoproj.io/v1alpha1/workflows", stage.redis_url, piped=False)
    return await _observed(publisher, consumer, changes, int(rate * WARM_SECONDS))


async def _observed(reader: Program, deliverer: Program, changes: int, warm: int) -> Paced:
    arrivals: list[Arrival] = deliverer.arrivals
    await deliverer.until(lambda: len(arrivals) >= warm, "the first events")
    first, before = len(arrivals), (reader.cpu(), deliverer.cpu())
    await deliverer.until(lambda: len(arrivals) >= changes, "the last event")
    thousands = (len(arrivals) - first) / 1000
    after = (reader.cpu(), deliverer.cpu())
    latencies = [(arrival.came - arrival.sent) / 1e6 for arrival in arrivals[first:]]
    return Paced(latencies, (after[0] - before[0]) / thousands, (after[1] - before[1]) / thousands)
