"""The position of a reader in the stream of completed jobs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_airbyte_api.api.models import Job
from airflow_provider_airbyte_api.api.poll_plan import CURSOR_OVERLAP
from airflow_provider_airbyte_api.api.safe import safe_float


@dataclass(frozen=True)
class Cursor:
    """The position of a watcher: it has processed all changes up to ``position``, in seconds since the epoch.

    ``emitted`` holds the jobs with an event since shortly before that, each with the time at which it finished.
    """

    position: float
    emitted: Mapping[int, float] = field(default_factory=dict)

    def is_new(self, job: Job) -> bool:
        """Return True if no event was emitted for ``job`` yet."""
        return job.job_id not in self.emitted and job.completed_timestamp >= self.position - CURSOR_OVERLAP

    def advance_past(self, job: Job, server_time: float = math.inf) -> Cursor:
        """Return the cursor after events for ``job`` and all jobs that finished before it.

        The cursor does not pass ``server_time``, even if the job has a later completion time.
        """
        return Cursor(self.position, {**self.emitted, job.job_id: job.completed_timestamp}).advance_to(
            min(job.completed_timestamp, server_time)
        )

    def advance_to(self, server_time: float) -> Cursor:
        """Return the cursor after events for all changes up to ``server_time``."""
        emitted = {
            job_id: ended_at for job_id, ended_at in self.emitted.items() if ended_at >= server_time - CURSOR_OVERLAP
        }
        return Cursor(max(self.position, server_time), emitted)

    def dump(self) -> dict[str, Any]:
        """Return the cursor as a JSON object."""
        return {
            "position": self.position,
            "emitted": {str(job_id): ended_at for job_id, ended_at in self.emitted.items()},
        }

    @classmethod
    def load(cls, value: Any) -> Cursor | None:
        """Return the cursor that :meth:`dump` wrote, or None if ``value`` is not one."""
        try:
            return cls(
                _parse_time(value["position"]),
                {int(name): _parse_time(ended_at) for name, ended_at in value["emitted"].items()},
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            return None


def _parse_time(value: object) -> float:
    time = safe_float(value)
    if time is None:
        raise ValueError(value)
    return time
