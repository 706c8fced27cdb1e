"""Apache Airflow provider for Airbyte's public API.

Airflow imports this package while it configures itself, so it contains only the version.
"""

__version__ = "1.0.0"
