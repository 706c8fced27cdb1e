"""Default values of parameters. Times are in seconds."""

DEFAULT_CONN_ID = "airbyte_api_default"
"""ID of the Airflow connection."""

DEFAULT_POLL_INTERVAL = 30.0
"""Seconds between two polls of a job."""

MIN_POLL_INTERVAL = 1.0
"""Minimum seconds between two polls of a job. A shorter ``poll_interval`` is raised to this value."""

DEFAULT_UNREACHABLE_TIMEOUT = 1800.0
"""Seconds for which Airbyte may be unreachable while a task waits for a job."""

DEFAULT_TIMEOUT = 7 * 24 * 3600.0
"""Maximum seconds that a sync may take: 7 days."""

DEFERRAL_TIMEOUT_MARGIN = 300.0
"""Seconds after a task's deadline until Airflow itself ends the deferral, if the trigger has not."""

DEFAULT_MIN_DEFERRAL = 10.0
"""Minimum seconds, approximately, between the start of a trigger and its event.

Airflow's worker may notice up to 5 s late (``[workers] min_heartbeat_interval``) that the process of a deferring task
has ended. If the trigger has fired before, the scheduler mistakes the resumed task for a dead one and fails it. This
was seen on 3.3.2 with the LocalExecutor. No sync is that short, and the worker has just polled the job.
"""

SYNCS_ASSET = "airbyte_syncs"
"""Name of the asset for all syncs. A DAG can be scheduled on it."""

UI_PREFIX = "/airbyte"
"""Path of the page's static files and of the webhook, below the path of Airflow."""


def at_least_min_poll_interval(poll_interval: float) -> float:
    """Return ``poll_interval`` in seconds, or :data:`MIN_POLL_INTERVAL` if that is longer."""
    return max(MIN_POLL_INTERVAL, poll_interval)
