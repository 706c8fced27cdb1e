"""Airflow sensors for Airbyte."""
