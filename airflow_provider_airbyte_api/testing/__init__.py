"""A local Airbyte for tests, demos and DAG authors: the public API on a real socket, with its own data.

    with LocalAirbyte() as airbyte:
        os.environ["AIRFLOW_CONN_AIRBYTE_API_DEFAULT"] = airbyte.airflow_connection
        ...
        assert len(airbyte.jobs) == 1

``python -m airflow_provider_airbyte_api.testing --port 8000`` runs one in a separate process.
"""

from airflow_provider_airbyte_api.testing.jobs import LocalJob
from airflow_provider_airbyte_api.testing.recorded import RecordedRequest
from airflow_provider_airbyte_api.testing.server import LocalAirbyte

__all__ = ["LocalAirbyte", "LocalJob", "RecordedRequest"]
