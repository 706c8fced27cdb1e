"""What of the triggers an Airflow does not have."""

from tests.versions import AIRFLOW

collect_ignore = ["test_sync_events.py"] if AIRFLOW < (3, 0) else []  # it has no asset watchers
