"""RQ's worker for jobs of an rq bus: `rq worker --worker-class kubecdc.rq.worker.Worker`."""

from __future__ import annotations

import importlib
from typing import Any

import rq.worker
from rq.job import Job

LEAST = 15  # seconds: a pause that is longer than the heartbeats last makes a second worker run the job


class Worker(rq.worker.Worker):
    """Imports what jobs need before it forks, which takes most of the time of a short job.

    Its heartbeats last for three of its intervals, where RQ's last for a minute more than one.
    """

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Called once, before the first job."""
        importlib.import_module("kubecdc.rq.job")
        super().bootstrap(*args, **kwargs)

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        """Seconds that a heartbeat lasts. Once the job runs, it has heartbeats of its own, each of an ackWait."""
        return max(LEAST, 3 * int(self.job_monitoring_interval))
