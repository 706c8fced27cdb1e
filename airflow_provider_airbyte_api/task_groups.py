"""Functions that return ready-made task groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_airbyte_api._airflow_compat import TaskGroup
from airflow_provider_airbyte_api._validation import BOOLEANS, boolean
from airflow_provider_airbyte_api.operators.airbyte import AirbyteListConnectionsOperator, AirbyteSyncOperator


def sync_connections(
    group_id: str = "sync_connections",
    *,
    airbyte_conn_id: str | None = None,
    sync_kwargs: Mapping[str, Any] | None = None,
    **list_kwargs: Any,
) -> TaskGroup:
    """Return a task group that lists Airbyte connections at run time and syncs each of them in a mapped task.

    No request is sent to Airbyte while the DAG is parsed. Each mapped task is labelled with its connection's name.

    :param group_id: ID of the task group. Default: ``sync_connections``.
    :param airbyte_conn_id: ID of the Airflow connection. Default: the value in the DAG's ``default_args``, or
        ``airbyte_api_default``.
    :param sync_kwargs: Parameters of :class:`~.operators.airbyte.AirbyteSyncOperator`, such as ``deferrable``, ``pool``
        or ``max_active_tis_per_dagrun``. Default: None, the operator's defaults.
    :param list_kwargs: Parameters of :class:`~.operators.airbyte.AirbyteListConnectionsOperator` that select the
        connections, such as ``tags``, ``name_pattern`` or ``workspace_names``. If there are more connections than
        Airflow may map a task over (``[core] max_map_length``, 1,024 by default), the list task fails before any sync
        is started.
    :raises AirbyteConfigError: if a boolean parameter in ``sync_kwargs`` is not True or False.
    """
    # Airflow creates a mapped operator at run time. Only these parameters can be checked while the DAG is parsed.
    for name in BOOLEANS.intersection(sync_kwargs or {}):
        boolean((sync_kwargs or {})[name], name)
    conn: dict[str, Any] = {} if airbyte_conn_id is None else {"airbyte_conn_id": airbyte_conn_id}
    kwargs = {"map_index_template": "{{ airbyte_connection_name }}", **conn, **(sync_kwargs or {})}
    with TaskGroup(group_id) as group:
        found = AirbyteListConnectionsOperator(task_id="list", output="ids", **conn, **list_kwargs)
        AirbyteSyncOperator.partial(task_id="sync", **kwargs).expand(connection_id=found.output)
    return group
