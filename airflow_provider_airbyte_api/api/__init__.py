"""Airbyte's public API in Python: which requests to send, and what a response means.

No module of this package does I/O, or imports Airflow or an HTTP library. Operations of more than one request are
generators (see :mod:`.flow`), which the clients in ``clients`` run.
"""
