"""Airflow's simple auth manager, with DAGs that a viewer may not read."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class PickyAuthManager(SimpleAuthManager):
    """A viewer may not read DAGs whose id starts with ``secret``."""

    def is_authorized_dag(self, *, user: Any, details: Any = None, **kwargs: Any) -> bool:
        hidden = details is not None and str(details.id).startswith("secret") and user.role == "viewer"
        return not hidden and super().is_authorized_dag(user=user, details=details, **kwargs)
