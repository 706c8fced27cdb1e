"""What a DAG author writes down to wait for something in Airbyte."""
