"""``airflow airbyte …``, and the same as ``python -m airflow_provider_airbyte_api …``."""
