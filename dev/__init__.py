"""For who works on this package: a whole Airflow on one machine, and what `make` runs on it."""
