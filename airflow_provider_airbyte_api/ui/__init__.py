"""A page of Airbyte syncs in Airflow's UI, on Airflow 3.1 and newer."""
