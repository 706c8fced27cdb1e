"""The commands ``airflow airbyte …``, also available as ``python -m airflow_provider_airbyte_api …``."""
