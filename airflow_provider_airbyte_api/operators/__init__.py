"""What a DAG author writes down: the tasks."""
