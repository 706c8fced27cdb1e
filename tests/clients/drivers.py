"""Both drivers behind one face, so that one suite holds for both."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from airflow_provider_airbyte_api.api.conversation import Conversation
from airflow_provider_airbyte_api.api.tokens import Credentials
from airflow_provider_airbyte_api.api.urls import api_root
from airflow_provider_airbyte_api.clients.aio import AsyncClient
from airflow_provider_airbyte_api.clients.settings import Settings
from airflow_provider_airbyte_api.clients.sync import Client
from airflow_provider_airbyte_api.testing import LocalAirbyte

T = TypeVar("T")
LOG = logging.getLogger("tests.clients")


class Driver(ABC):
    def __init__(self, airbyte: LocalAirbyte) -> None:
        self.airbyte = airbyte

    def settings(self, *, url: str | None = None, auth: bool = True, read_timeout: float = 5.0) -> Settings:
        root = api_root(url or self.airbyte.url)
        token_url = f"{root.api}/applications/token"
        credentials = Credentials(token_url, self.airbyte.client_id, self.airbyte.client_secret) if auth else None
        return Settings(root, credentials, connect_timeout=2.0, read_timeout=read_timeout)

    @abstractmethod
    def run(self, conversation: Conversation[T], settings: Settings | None = None) -> T:
        """Perform one conversation."""

    @abstractmethod
    def run_together(self, conversations: list[Callable[[], Conversation[Any]]]) -> list[Any]:
        """Perform many at once, each with a client of its own."""


class SyncDriver(Driver):
    def run(self, conversation: Conversation[T], settings: Settings | None = None) -> T:
        with Client(settings or self.settings(), LOG) as client:
            return client.run(conversation)

    def run_together(self, conversations: list[Callable[[], Conversation[Any]]]) -> list[Any]:
        with ThreadPoolExecutor(len(conversations)) as threads:
            return list(threads.map(lambda make: self.run(make()), conversations))


class AsyncDriver(Driver):
    def run(self, conversation: Conversation[T], settings: Settings | None = None) -> T:
        return asyncio.run(self._run(conversation, settings))

    async def _run(self, conversation: Conversation[T], settings: Settings | None = None) -> T:
        async with AsyncClient(settings or self.settings(), LOG) as client:
            return await client.run(conversation)

    def run_together(self, conversations: list[Callable[[], Conversation[Any]]]) -> list[Any]:
        async def together() -> list[Any]:
            return await asyncio.gather(*(self._run(make()) for make in conversations))

        return asyncio.run(together())
