"""Development tools: a complete Airflow on one machine, for `make demo`, `make airflow` and the tests."""
