"""What holds where nothing is said. Times are in seconds."""

DEFAULT_CONN_ID = "airbyte_api_default"
"""The Airflow connection."""

DEFAULT_POLL_INTERVAL = 30.0
"""Between two looks at a job."""

MIN_POLL_INTERVAL = 1.0
"""The least time between two looks at a job. A shorter ``poll_interval`` counts as this one."""

DEFAULT_UNREACHABLE_TIMEOUT = 1800.0
"""How long Airbyte may be away while a job is waited for."""

DEFAULT_TIMEOUT = 7 * 24 * 3600.0
"""How long a sync may take."""

DEFERRAL_TIMEOUT_MARGIN = 300.0
"""After a task's deadline Airflow itself ends its deferral, should the trigger not have done so."""

ON_RUNNING = ("attach", "wait", "skip", "fail", "restart")
"""What a task may do if a job of its connection runs already. ``attach`` is the default."""

ON_RUNNING_CLEAR = ("fail", "wait", "skip", "restart")
"""The same for a task that clears a connection. ``fail`` is the default."""

SYNCS_ASSET = "airbyte_syncs"
"""The name of the asset that stands for all syncs: a DAG may be scheduled on it."""


def at_least_min_poll_interval(poll_interval: float) -> float:
    """Return ``poll_interval``, or :data:`MIN_POLL_INTERVAL` if that is longer."""
    return max(MIN_POLL_INTERVAL, poll_interval)
