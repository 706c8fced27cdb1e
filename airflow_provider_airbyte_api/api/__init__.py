"""Airbyte's public API said in Python: what to ask, and what an answer means.

Nothing in this room does I/O, knows Airflow, or imports an HTTP library. Decisions that take more than one
request are generators (see :mod:`.flow`); the rooms under ``clients`` carry them out.
"""
