"""How to reach one Airbyte: all that a driver needs to know, without Airflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from airflow_provider_airbyte_api import __version__
from airflow_provider_airbyte_api.api.tokens import Credentials, TokenKey
from airflow_provider_airbyte_api.api.urls import ApiRoot
from airflow_provider_airbyte_api.api.wire import Request


class Log(Protocol):
    """What a driver logs to: a standard logger, or one of Airflow's."""

    def log(self, level: int, msg: str, /, *args: Any) -> Any:
        """Log ``msg % args``."""


@dataclass(frozen=True)
class Settings:
    """The API root, the credentials (None: this Airbyte has authentication switched off) and time-outs in seconds.

    ``read_timeout`` is how long a reply may take to begin or to go on, unless a request has its own. ``max_in_flight``
    is how many requests a triggerer has under way at once: self-managed servers answer with five threads.
    ``shares_token`` means with other processes of this user: see :mod:`.token_files`.
    """

    root: ApiRoot
    credentials: Credentials | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    max_in_flight: int = 4
    shares_token: bool = False

    @property
    def token_key(self) -> TokenKey | None:
        """Return what tokens for this Airbyte are cached under."""
        return None if self.credentials is None else self.credentials.key(self.root.api)

    def url(self, request: Request) -> str:
        """Return the whole URL of ``request``, without its query."""
        return request.path if "://" in request.path else self.root.api + request.path

    def headers(self) -> dict[str, str]:
        """Return the headers that every request carries."""
        return {"Accept": "application/json", "User-Agent": f"airflow-provider-airbyte-api/{__version__}"}
