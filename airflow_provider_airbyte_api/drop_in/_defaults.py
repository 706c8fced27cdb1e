"""Default values of the official provider. Times are in seconds."""

DEFAULT_CONN_ID = "airbyte_default"
"""ID of the Airflow connection."""

DEFAULT_TIMEOUT = 3600.0
"""Maximum seconds that a sync may take."""

DEFAULT_WAIT_SECONDS = 3.0
"""Seconds between two polls of a job."""
