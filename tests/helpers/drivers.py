"""Both drivers behind one face, so that one suite holds for both."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from airflow_provider_airbyte_api.api.base_url import parse_host
from airflow_provider_airbyte_api.api.flow import Flow, SendRequest
from airflow_provider_airbyte_api.api.http import Request, Response, TransportFailure
from airflow_provider_airbyte_api.api.tokens import ClientCredentials
from airflow_provider_airbyte_api.clients.async_client import AsyncClient
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.clients.sync_client import Client
from airflow_provider_airbyte_api.testing import LocalAirbyte

T = TypeVar("T")
LOG = logging.getLogger("tests.clients")
GET_JOBS = Request("GET", "/jobs", idempotent=True)
POST_JOBS = Request("POST", "/jobs", json={})


class Driver(ABC):
    def __init__(self, airbyte: LocalAirbyte) -> None:
        self.airbyte = airbyte

    def settings(self, *, url: str | None = None, auth: bool = True, read_timeout: float = 5.0) -> ClientSettings:
        root = parse_host(url or self.airbyte.url)
        token_url = f"{root.api_url}/applications/token"
        credentials = ClientCredentials(token_url, self.airbyte.client_id, self.airbyte.client_secret) if auth else None
        return ClientSettings(root, credentials, connect_timeout=2.0, read_timeout=read_timeout)

    @abstractmethod
    def run(self, flow: Flow[T], settings: ClientSettings | None = None) -> T:
        """Run one flow."""

    @abstractmethod
    def run_together(self, flows: list[Callable[[], Flow[Any]]]) -> list[Any]:
        """Perform many at once, each with a client of its own."""


class SyncDriver(Driver):
    def run(self, flow: Flow[T], settings: ClientSettings | None = None) -> T:
        with Client(settings or self.settings(), LOG) as client:
            return client.run(flow)

    def run_together(self, flows: list[Callable[[], Flow[Any]]]) -> list[Any]:
        with ThreadPoolExecutor(len(flows)) as threads:
            return list(threads.map(lambda make: self.run(make()), flows))


class AsyncDriver(Driver):
    def run(self, flow: Flow[T], settings: ClientSettings | None = None) -> T:
        return asyncio.run(self._run(flow, settings))

    async def _run(self, flow: Flow[T], settings: ClientSettings | None = None) -> T:
        async with AsyncClient(settings or self.settings(), LOG) as client:
            return await client.run(flow)

    def run_together(self, flows: list[Callable[[], Flow[Any]]]) -> list[Any]:
        async def together() -> list[Any]:
            return await asyncio.gather(*(self._run(make()) for make in flows))

        return asyncio.run(together())


def exchange(request: Request) -> Flow[Response | TransportFailure]:
    """Send one request without a token, and return what came of it."""
    outcome: Response | TransportFailure = yield SendRequest(request, None)
    return outcome
