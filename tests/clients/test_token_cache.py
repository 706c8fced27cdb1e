from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_airbyte_api.api.tokens import Token, TokenKey
from airflow_provider_airbyte_api.clients.token_cache import TOKENS, TokenCache
from airflow_provider_airbyte_api.exceptions import AirbyteUnreachableError

KEY = TokenKey("https://a", "https://a/token", "me", "digest")


def token(value: str = "t", stale_at: float = 80, expires_at: float = 95) -> Token:
    return Token(value, stale_at, expires_at)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> TokenCache:
    return TokenCache(clock)


def never() -> Token:
    raise AssertionError("nothing to fetch")


def test_a_token_is_fetched_once_and_used_while_it_is_fresh(cache: TokenCache) -> None:
    assert cache.get(KEY, None, token).value == "t"
    assert cache.get(KEY, None, never).value == "t"


def test_a_rejected_token_is_replaced_and_only_once(cache: TokenCache) -> None:
    old = cache.get(KEY, None, lambda: token("old"))
    assert cache.get(KEY, old, lambda: token("new")).value == "new"
    assert cache.get(KEY, old, never).value == "new", "somebody else has renewed it already"


def test_a_stale_token_is_renewed_early_and_an_expired_one_never_used(cache: TokenCache, clock: Clock) -> None:
    cache.get(KEY, None, lambda: token("old"))
    clock.now = 81
    assert cache.get(KEY, None, lambda: token("new", 180, 195)).value == "new"
    clock.now = 196
    assert cache.get(KEY, None, lambda: token("newer", 280, 295)).value == "newer"


def unreachable() -> Token:
    raise AirbyteUnreachableError("away")


def test_a_stale_token_outlives_a_failed_renewal_but_an_expired_one_does_not(cache: TokenCache, clock: Clock) -> None:
    cache.get(KEY, None, lambda: token("old"))
    clock.now = 81
    assert cache.get(KEY, None, unreachable).value == "old"
    assert cache.get(KEY, None, never).value == "old", "the next try comes a little later"
    clock.now = 96
    with pytest.raises(AirbyteUnreachableError):
        cache.get(KEY, None, unreachable)


def test_while_one_renews_a_stale_token_the_others_go_on_with_it(cache: TokenCache, clock: Clock) -> None:
    cache.get(KEY, None, lambda: token("old"))
    clock.now = 81
    seen = []

    def renew() -> Token:
        seen.append(cache.get(KEY, None, never).value)
        return token("new", 180, 195)

    assert cache.get(KEY, None, renew).value == "new"
    assert seen == ["old"]


def test_a_rejected_token_does_not_come_back_when_its_renewal_fails(cache: TokenCache, clock: Clock) -> None:
    old = cache.get(KEY, None, lambda: token("old"))
    clock.now = 81
    waiting = threading.Event()
    rejecting: list[str] = []

    def renew() -> Token:
        def reject() -> None:
            waiting.set()
            try:
                rejecting.append(cache.get(KEY, old, never).value)
            except AirbyteUnreachableError as error:
                rejecting.append(str(error))

        thread = threading.Thread(target=reject)
        thread.start()
        waiting.wait(5)
        while KEY in cache._tokens:
            threading.Event().wait(0.001)
        threading.Timer(0.1, thread.join).start()
        raise AirbyteUnreachableError("away")

    with pytest.raises(AirbyteUnreachableError):
        cache.get(KEY, None, renew)
    for _ in range(500):
        if rejecting:
            break
        threading.Event().wait(0.01)
    assert rejecting == ["away"]


def test_who_asks_from_within_the_fetch_does_not_wait_for_itself(cache: TokenCache) -> None:
    """As a signal handler does that interrupts a fetch."""

    def fetch() -> Token:
        return cache.get(KEY, None, lambda: token("inner"))

    assert cache.get(KEY, None, fetch).value == "inner"


def test_threads_wait_for_one_fetch_and_share_its_error(cache: TokenCache) -> None:
    started, fetches = threading.Barrier(8), []

    def fetch() -> Token:
        fetches.append(1)
        threading.Event().wait(0.5)
        raise AirbyteUnreachableError("away")

    def ask(_: int) -> str:
        started.wait()
        try:
            return cache.get(KEY, None, fetch).value
        except AirbyteUnreachableError as error:
            return str(error)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(8))) == {"away"}
    assert len(fetches) == 1


async def test_a_coroutine_that_is_cancelled_while_it_fetches_takes_nobody_with_it(cache: TokenCache) -> None:
    fetching = asyncio.Event()

    async def hang() -> Token:
        fetching.set()
        await asyncio.sleep(60)
        raise AssertionError

    async def fetch() -> Token:
        return token("from the second")

    first = asyncio.create_task(cache.aget(KEY, None, hang))
    await fetching.wait()
    second = asyncio.create_task(cache.aget(KEY, None, fetch))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).value == "from the second"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_coroutine_that_stops_waiting_does_not_stop_the_fetch(cache: TokenCache) -> None:
    proceed = asyncio.Event()

    async def fetch() -> Token:
        await proceed.wait()
        return token()

    async def unused() -> Token:
        raise AssertionError

    first = asyncio.create_task(cache.aget(KEY, None, fetch))
    await asyncio.sleep(0)
    second = asyncio.create_task(cache.aget(KEY, None, unused))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    proceed.set()
    assert (await first).value == "t"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_fetch_of_its_parent() -> None:
    proceed, fetching = threading.Event(), threading.Event()

    def fetch() -> Token:
        fetching.set()
        proceed.wait(10)
        return token(expires_at=float("inf"), stale_at=float("inf"))

    thread = threading.Thread(target=lambda: TOKENS.get(KEY, None, fetch))
    thread.start()
    fetching.wait(10)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        os._exit(0 if TOKENS.get(KEY, None, lambda: token("child's")).value == "child's" else 1)
    proceed.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
