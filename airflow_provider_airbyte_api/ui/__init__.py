"""A page of Airbyte syncs in Airflow's UI, and a webhook for Airbyte's notifications: on Airflow 3.1 and newer."""
