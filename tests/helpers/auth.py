"""Airflow's simple auth manager, with DAGs that a viewer may not read."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class PickyAuthManager(SimpleAuthManager):
    """No viewer may read DAGs whose id starts with ``secret``; nor ``guest`` task instances, and ``reader`` XComs."""

    def is_authorized_dag(
        self, *, user: Any, details: Any = None, access_entity: DagAccessEntity | None = None, **kwargs: Any
    ) -> bool:
        """Return whether ``user`` may do this with a DAG."""
        forbidden = {"guest": DagAccessEntity.TASK_INSTANCE, "reader": DagAccessEntity.XCOM}
        if access_entity is not None and access_entity == forbidden.get(user.username):
            return False
        if user.role == "viewer" and details is not None and str(details.id).startswith("secret"):
            return False
        return super().is_authorized_dag(user=user, details=details, access_entity=access_entity, **kwargs)
