"""What holds where nothing is said. Times are in seconds."""

AIRBYTE_CONN_ID = "airbyte_api_default"
"""The Airflow connection."""

POLL_INTERVAL = 30.0
"""Between two looks at a job."""

UNREACHABLE_TIMEOUT = 1800.0
"""How long Airbyte may be away while a job is waited for."""

TIMEOUT = 7 * 24 * 3600.0
"""How long a sync may take."""

DEFERRAL_GRACE = 300.0
"""After a task's deadline Airflow itself ends its deferral, should the trigger not have done so."""

ON_RUNNING = ("attach", "wait", "skip", "fail", "restart")
"""What a task may do if a job of its connection runs already. ``attach`` is the default."""

ON_RUNNING_CLEAR = ("fail", "wait", "skip", "restart")
"""The same for a task that clears a connection. ``fail`` is the default."""

ASSET_ALIAS = "airbyte_syncs"
"""The asset alias under which the events of all syncs come: a DAG may be scheduled on it."""
