"""Links from a task in Airflow's UI to Airbyte's web app."""
