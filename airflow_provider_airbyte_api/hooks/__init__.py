"""The Airflow hook, and the edge where the errors of ``api`` become Airflow's."""
