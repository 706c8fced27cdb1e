"""Airbyte's public API in Python: which requests to send, and what a response means.

This package does no I/O, does not depend on Airflow's runtime, and imports no HTTP library. Operations of more than one
request are generators (see :mod:`.flow`), which the clients in ``clients`` run.
"""
