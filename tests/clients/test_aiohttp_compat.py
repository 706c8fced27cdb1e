"""What the driver uses of the inside of aiohttp does what it relies on, with the aiohttp of each Airflow."""

from __future__ import annotations

import aiohttp
import pytest

from airflow_provider_airbyte_api.clients._aiohttp_compat import disable_hidden_retries
from tests.helpers.raw_socket_server import RawSocketServer


async def requests_of(server: RawSocketServer, method: str, *, disabled: bool) -> int:
    """Return how often aiohttp sends one request to a server that closes each connection."""
    async with aiohttp.ClientSession() as session:
        if disabled:
            disable_hidden_retries(session)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.request(method, server.url)
    return len(server.requests)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(("disabled", "count"), [(False, 2), (True, 1)], ids=["aiohttp repeats it", "disabled"])
async def test_a_request_without_a_reply_is_sent_once(method: str, disabled: bool, count: int) -> None:
    with RawSocketServer(lambda sock, _: sock.close()) as server:
        assert await requests_of(server, method, disabled=disabled) == count


async def test_the_attribute_is_aiohttps() -> None:
    async with aiohttp.ClientSession() as session:
        assert session._retry_connection is True
