"""Tokens in files, real ones."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_airbyte_api.api import resources
from airflow_provider_airbyte_api.api.base_url import parse_host
from airflow_provider_airbyte_api.api.tokens import ClientCredentials, Token
from airflow_provider_airbyte_api.clients import token_file
from airflow_provider_airbyte_api.clients.settings import ClientSettings
from airflow_provider_airbyte_api.clients.token_cache import TOKENS
from airflow_provider_airbyte_api.clients.token_file import TokenFile
from airflow_provider_airbyte_api.testing import LocalAirbyte
from tests.helpers.clock import until
from tests.helpers.drivers import AsyncDriver, Driver, SyncDriver

SECRET = "s3cr3t-of-the-application"
CREDENTIALS = ClientCredentials("https://a/token", "me", SECRET)


def token(value: str = "t0ken", lifetime: float = 900.0) -> Token:
    return Token(value, time.time() + lifetime * 0.8, time.time() + lifetime * 0.95)


def never() -> Token:
    raise AssertionError("nothing to fetch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def file(folder: Path) -> TokenFile:
    return TokenFile(CREDENTIALS.cache_key("https://a"), SECRET, folder)


def another(file: TokenFile, *, api: str = "https://a", secret: str = SECRET, **more: Any) -> TokenFile:
    return TokenFile(ClientCredentials("https://a/token", "me", secret).cache_key(api), secret, file.directory, **more)


def test_what_one_process_fetched_another_one_reads(file: TokenFile) -> None:
    kept = file.get(None, token)
    assert another(file).get(None, never) == kept
    assert asyncio.run(another(file).aget(None, _never)) == kept


async def _never() -> Token:
    raise AssertionError("nothing to fetch")


def test_a_rejected_token_is_replaced_for_all(file: TokenFile) -> None:
    old = file.get(None, lambda: token("old"))
    assert file.get(old, lambda: token("new")).value == "new"
    assert another(file).get(old, never).value == "new", "somebody else has renewed it already"


@pytest.mark.parametrize("lifetime", [-1.0, 0.0])
def test_a_token_that_is_not_fresh_any_more_is_not_used(file: TokenFile, lifetime: float) -> None:
    file.get(None, lambda: token("old", lifetime))
    assert file.get(None, lambda: token("new")).value == "new"


def test_the_token_folder_is_private(file: TokenFile) -> None:
    file.get(None, token)
    assert file.directory.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in file.directory.iterdir()} == {0o600}


def test_the_file_is_unreadable_without_the_secret(file: TokenFile) -> None:
    file.get(None, token)
    content = file.path.read_bytes()
    for known in (b"t0ken", SECRET.encode(), b"https://a", b'me"'):
        assert known not in content
    mistaken = TokenFile(CREDENTIALS.cache_key("https://a"), "another secret", file.directory)
    assert mistaken.path == file.path
    assert mistaken.get(None, lambda: token("own")).value == "own"


def test_a_token_is_for_one_airbyte_only(file: TokenFile) -> None:
    file.get(None, token)
    elsewhere = another(file, api="https://b")
    elsewhere.path = file.path
    assert elsewhere.get(None, lambda: token("own")).value == "own"


@pytest.mark.parametrize("content", [b"", b"no token at all", b"\0" * 300], ids=["empty", "text", "zeros"])
def test_a_broken_file_is_as_good_as_none(file: TokenFile, content: bytes) -> None:
    file.get(None, token)
    file.path.write_bytes(content)
    assert file.get(None, lambda: token("new")).value == "new"
    assert another(file).get(None, never).value == "new"


def test_a_file_that_others_may_read_or_write_is_not_trusted(file: TokenFile) -> None:
    file.get(None, token)
    file.path.chmod(0o644)
    assert file.get(None, lambda: token("new")).value == "new"
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(file: TokenFile, tmp_path: Path) -> None:
    file.get(None, token)
    elsewhere = tmp_path / "elsewhere"
    file.path.rename(elsewhere)
    file.path.symlink_to(elsewhere)
    assert file.get(None, lambda: token("new")).value == "new"


@pytest.mark.parametrize("trouble", ["a folder that others may look into", "a file in its place", "no folder"])
def test_without_a_usable_folder_each_process_fetches_a_token_and_logs_it(
    file: TokenFile, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    if trouble == "a folder that others may look into":
        file.directory.mkdir(mode=0o755)
    elif trouble == "a file in its place":
        file.directory.write_text("in the way")
    else:
        file.directory = file.path = Path("/proc/nowhere/token")
    with caplog.at_level(logging.WARNING):
        assert file.get(None, lambda: token("mine")).value == "mine"
        assert asyncio.run(file.aget(None, _mine)).value == "mine"
    assert "Each process fetches its own" in caplog.text
    assert "mine" not in caplog.text


async def _mine() -> Token:
    return token("mine")


def test_a_user_without_a_home_has_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a container that runs under a number that no account has."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    file = TokenFile(CREDENTIALS.cache_key("https://a"), SECRET)
    file.get(None, token)
    assert file.directory.parent == tmp_path
    assert file.get(None, never).value == "t0ken"


def test_who_fetches_for_too_long_is_not_waited_for(file: TokenFile) -> None:
    def fetch() -> Token:
        return another(file, lock_timeout=0.2).get(None, lambda: token("the second one's"))

    assert file.get(None, fetch).value == "the second one's"


def test_a_fetch_that_fails_leaves_no_lock(file: TokenFile) -> None:
    for _ in range(2):
        with pytest.raises(AssertionError, match="nothing to fetch"):
            file.get(None, never)
    assert file.get(None, token).value == "t0ken"


def test_new_secrets_leave_one_file(file: TokenFile) -> None:
    for number in range(5):
        assert another(file, secret=f"secret {number}").get(None, lambda: token("own")).value == "own"
    assert sorted(each.suffix for each in file.directory.iterdir()) == ["", ".lock"]


def aged(path: Path, seconds: float) -> Path:
    path.touch()
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_what_nobody_uses_any_more_is_removed(file: TokenFile) -> None:
    file.get(None, token)
    name, other = "a" * 64, "b" * 64
    gone = [
        aged(file.directory / name, token_file.UNUSED_AFTER + 60),
        aged(file.directory / f"{other}.lock", token_file.WRITING_TIMEOUT + 60),
        aged(file.directory / f"{name}.1234.0a1b2c3d", token_file.WRITING_TIMEOUT + 60),
        aged(file.directory / f"{file.path.name}.1234.0a1b2c3d", token_file.WRITING_TIMEOUT + 60),
    ]
    kept = [
        aged(file.directory / "somebody's", token_file.UNUSED_AFTER + 60),
        aged(file.directory / f"{name}.1234.00000000", 60),
        aged(file.directory / ("c" * 64), 24 * 3600.0),
        aged(file.directory / f"{'c' * 64}.lock", token_file.UNUSED_AFTER + 60),
        aged(file.path.with_suffix(".lock"), token_file.UNUSED_AFTER + 60),
    ]
    file.get(file.get(None, never), lambda: token("new"))
    assert [path for path in gone if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFO")
@pytest.mark.parametrize("suffix", ["", ".lock"])
def test_a_fifo_blocks_nobody(file: TokenFile, suffix: str) -> None:
    file.directory.mkdir(mode=0o700)
    os.mkfifo(file.path.with_suffix(suffix), 0o600)
    assert file.get(None, lambda: token("mine")).value == "mine"


@pytest.mark.parametrize("moment", [float("nan"), float("inf")])
def test_a_token_without_an_end_is_not_used(file: TokenFile, moment: float) -> None:
    file.get(None, lambda: Token("endless", moment, moment))
    assert file.get(None, lambda: token("new")).value == "new"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_during_a_fetch_keeps_no_lock(file: TokenFile) -> None:
    children = []

    def fetch() -> Token:
        child = os.fork()
        if child == 0:
            signal.alarm(30)
            signal.pause()
        children.append(child)
        return token("old")

    old = file.get(None, fetch)
    began = time.monotonic()
    try:
        assert another(file, lock_timeout=10.0).get(old, lambda: token("new")).value == "new"
        assert time.monotonic() - began < 10.0, "nobody was waited for"
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)


def _list_sources(kind: type[Driver], url: str, start: float) -> None:
    TOKENS.clear()
    time.sleep(max(start - time.time(), 0))
    driver = kind.__new__(kind)
    root = parse_host(url)
    credentials = ClientCredentials(f"{root.api_url}/applications/token", "local-client-id", "local-client-secret")
    driver.run(resources.get_connection(CONNECTION), ClientSettings(root, credentials, use_disk_cache=True))
    os._exit(0)


CONNECTION = "9924bcd0-99be-453d-ba47-c2c9766f7da5"


@pytest.mark.parametrize("kind", [SyncDriver, AsyncDriver])
def test_many_processes_that_start_together_fetch_one_token(
    airbyte: LocalAirbyte, kind: type[Driver], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    airbyte.latency = 0.1
    context = multiprocessing.get_context("spawn")
    start = time.time() + 3.0
    processes = [context.Process(target=_list_sources, args=(kind, airbyte.url, start)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 6
    assert len(airbyte.requests_to("GET", "/connections/.*")) == 6
    assert len(airbyte.requests_to("POST", "/applications/token")) == 1


@pytest.mark.parametrize("locked", [False, True])
def test_nothing_of_the_file_is_done_on_the_event_loop(
    file: TokenFile, locked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[str, set[int]] = {}

    def watched(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(*arguments: Any, **options: Any) -> Any:
            threads.setdefault(name, set()).add(threading.get_ident())
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    async def fetched() -> str:
        fetching = asyncio.create_task(file.aget(None, _mine))
        await until(lambda: fetching.done() or "flock" in threads)
        other.release()
        return (await fetching).value

    other = file._open_lock()
    assert not locked or other.acquire()
    for module, name in ((os, "open"), (os, "mkdir"), (os, "lstat"), (fcntl, "flock")):
        watched(module, name)
    assert asyncio.run(fetched()) == "mine"
    del threads["flock"]  # the one that this test unlocks
    assert {"open", "mkdir"} <= threads.keys()
    assert threading.get_ident() not in set.union(*threads.values())
