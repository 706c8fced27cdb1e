"""Airbyte for Apache Airflow, through Airbyte's public API.

Airflow imports this package while it configures itself, so it holds the version and nothing else.
"""

__version__ = "0.1.0"
