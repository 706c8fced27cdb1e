"""A cache of tokens for this process. Each token is fetched once, for any number of waiters.

Threads and coroutines of any event loop share this cache. Its lock is only held for a few instructions, and a waiter
for another's fetch waits on a future.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeAlias

from airflow_provider_airbyte_api.api.tokens import Token, TokenKey, TokenState


class _FetchCancelled(Exception):  # noqa: N818 - it is a message between threads
    """The fetch was stopped before it had a response. One of its waiters takes over."""


@dataclass(frozen=True)
class _FetchLease:
    """The duty to fetch a token for all waiters. ``fallback`` is a token that is still valid if the fetch fails."""

    key: TokenKey
    future: Future[Token]
    fallback: Token | None


@dataclass(frozen=True)
class _InFlightFetch:
    """A fetch in flight, and the thread that performs it."""

    future: Future[Token]
    thread: int


_Claim: TypeAlias = "Token | _InFlightFetch | _FetchLease"


class TokenCache:
    """Tokens by :class:`TokenKey`. ``clock`` returns seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tokens: dict[TokenKey, Token] = {}
        self._fetching: dict[TokenKey, _InFlightFetch] = {}

    def get(self, key: TokenKey, rejected: Token | None, fetch: Callable[[], Token]) -> Token:
        """Return a valid token other than ``rejected``, from ``fetch`` if there is none.

        An error of ``fetch`` is raised to all of its waiters. No caller waits while the old token is still valid.
        """
        while True:
            claim = self._claim(key, rejected)
            if isinstance(claim, Token):
                return claim
            if isinstance(claim, _InFlightFetch):
                if claim.thread == threading.get_ident():
                    # In a signal handler, or below a coroutine: this very thread would have to complete that fetch.
                    return fetch()
                try:
                    return claim.future.result()
                except _FetchCancelled:
                    continue
            try:
                token = fetch()
            except BaseException as error:  # noqa: BLE001 - others wait for the outcome, whatever the error
                return self._fail(claim, error)
            return self._complete(claim, token)

    async def aget(self, key: TokenKey, rejected: Token | None, fetch: Callable[[], Awaitable[Token]]) -> Token:
        """Do the same as :meth:`get`, without blocking the event loop."""
        import asyncio  # noqa: PLC0415 - a task that runs on requests alone does without

        while True:
            claim = self._claim(key, rejected)
            if isinstance(claim, Token):
                return claim
            if isinstance(claim, _InFlightFetch):
                try:
                    return await asyncio.wrap_future(claim.future)
                except _FetchCancelled:
                    continue
            try:
                token = await fetch()
            except BaseException as error:  # noqa: BLE001 - others wait for the outcome, whatever the error
                return self._fail(claim, error)
            return self._complete(claim, token)

    def snapshot(self, key: TokenKey) -> TokenCache:
        """Return a separate cache with the token for ``key``. It takes no lock, so a signal handler may call it."""
        copy = TokenCache(self._clock)
        token = self._tokens.get(key)
        if token is not None:
            copy._tokens[key] = token
        return copy

    def clear(self) -> None:
        """Remove all tokens, and all fetches in flight."""
        self._lock = threading.Lock()
        self._tokens.clear()
        self._fetching.clear()

    def reset_after_fork(self) -> None:
        """Remove all fetches in flight: after a fork, the child has no thread that would complete them."""
        self._lock = threading.Lock()
        self._fetching.clear()

    def _claim(self, key: TokenKey, rejected: Token | None) -> _Claim:
        """Return a valid token, another caller's fetch to wait for, or a lease to fetch."""
        with self._lock:
            token = self._tokens.get(key)
            if token is not None and rejected is not None and token.value == rejected.value:
                token = None
                del self._tokens[key]
            freshness = TokenState.EXPIRED if token is None else token.state(self._clock())
            under_way = self._fetching.get(key)
            if token is not None and (freshness is TokenState.FRESH or (freshness is TokenState.STALE and under_way)):
                return token
            if under_way is not None:
                return under_way
            future: Future[Token] = Future()
            # A running future cannot be cancelled, so the cancellation of one waiter does not affect the others.
            future.set_running_or_notify_cancel()
            self._fetching[key] = _InFlightFetch(future, threading.get_ident())
            return _FetchLease(key, future, token if freshness is TokenState.STALE else None)

    def _complete(self, fetch: _FetchLease, token: Token) -> Token:
        with self._lock:
            self._tokens[fetch.key] = token
            self._release(fetch)
        fetch.future.set_result(token)
        return token

    def _fail(self, fetch: _FetchLease, error: BaseException) -> Token:
        """Return the fallback token, if it is still valid, to the fetching caller; raise ``error`` to all waiters.

        The waiters cannot use that token: it was rejected, or they would not wait.
        """
        with self._lock:
            self._release(fetch)
            fallback = fetch.fallback if self._tokens.get(fetch.key) is fetch.fallback else None
            if fallback is not None:
                self._tokens[fetch.key] = fallback.with_refresh_postponed(self._clock())
        # A signal or a cancellation that stopped this thread or coroutine does not concern the others.
        fetch.future.set_exception(error if isinstance(error, Exception) else _FetchCancelled())
        fetch.future.exception()
        if fallback is not None and isinstance(error, Exception):
            return fallback
        raise error

    def _release(self, fetch: _FetchLease) -> None:
        under_way = self._fetching.get(fetch.key)
        if under_way is not None and under_way.future is fetch.future:
            del self._fetching[fetch.key]


TOKENS = TokenCache()
"""The cache of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=TOKENS.reset_after_fork)
