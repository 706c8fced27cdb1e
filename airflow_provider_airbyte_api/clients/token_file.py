"""One token for all processes of a user on a machine (extra ``disk_cache``).

A worker runs each task in a separate process, which starts without a token. So a token is kept in a file that only this
user can read. It is encrypted with a key derived from the client secret: the file is useless without the secret. A file
that is invalid, foreign, or cannot be read or written is ignored.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import json
import logging
import math
import os
import re
import secrets
import stat
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import IO, Any

from airflow_provider_airbyte_api.api.tokens import Token, TokenKey, TokenState

try:
    import fcntl
except ImportError:  # not on Windows, so nothing is shared there
    fcntl = None  # type: ignore[assignment]

LOCK_TIMEOUT = 30.0
"""Seconds to wait for the process that is fetching a token. After that, each process fetches its own."""

LOCK_POLL_INTERVAL = 0.05

UNUSED_AFTER = 7 * 24 * 3600.0
"""Seconds after which the file of a token that was not refreshed is removed."""

WRITING_TIMEOUT = 3600.0
"""Seconds after which a temporary file is considered left behind by a killed writer."""

MAX_FILES_SWEPT = 1000
"""Maximum number of files in the directory that one sweep checks."""

MAX_FILE_BYTES = 2**20
SALT_BYTES = 16

_FILE_NAME = re.compile(r"[0-9a-f]{64}(\.lock|\.\d+\.[0-9a-f]{8})?")

_LOG = logging.getLogger(__name__)


def default_cache_dir() -> Path:
    """Return the directory of the files: in the user's cache, or in the temporary directory if there is no home."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"airflow-provider-airbyte-api-{os.getuid()}"
    return cache / "airflow-provider-airbyte-api"


class TokenFile:
    """The file for the token of one key. ``clock`` returns seconds since the epoch.

    ``lock_timeout`` is the maximum time to wait for the process that is fetching a token, in seconds.
    """

    def __init__(
        self,
        key: TokenKey,
        client_secret: str,
        directory: Path | None = None,
        clock: Callable[[], float] = time.time,
        lock_timeout: float = LOCK_TIMEOUT,
    ) -> None:
        self._key = key
        self._secret = client_secret
        self._clock = clock
        self._lock_timeout = lock_timeout
        self.directory = directory or default_cache_dir()
        # The name does not depend on the secret, with which the file is encrypted. So a new secret leaves no old file
        # behind.
        name = hashlib.sha256(f"{key.api}\0{key.token_url}\0{key.client_id}".encode())
        self.path = self.directory / name.hexdigest()

    def get(self, rejected: Token | None, fetch: Callable[[], Token]) -> Token:
        """Return the token in the file if it is fresh and not ``rejected``; otherwise fetch one and keep it.

        While one process fetches, the others wait for it.
        """
        token = self._read(rejected)
        if token is not None or fcntl is None:
            return token or fetch()
        lock = self._open_lock()
        try:
            ends = time.monotonic() + self._lock_timeout
            while token is None and not lock.acquire() and time.monotonic() < ends:
                time.sleep(LOCK_POLL_INTERVAL)
                token = self._read(rejected)
            token = token or self._read(rejected)
            if token is None:
                token = fetch()
                self._write(token)
            return token
        finally:
            lock.release()

    async def aget(self, rejected: Token | None, fetch: Callable[[], Awaitable[Token]]) -> Token:
        """Do the same as :meth:`get`, without blocking the event loop."""
        token = await asyncio.to_thread(self._read, rejected)
        if token is not None or fcntl is None:
            return token or await fetch()
        lock = await asyncio.to_thread(self._open_lock)
        try:
            ends = time.monotonic() + self._lock_timeout
            while token is None and not await asyncio.to_thread(lock.acquire) and time.monotonic() < ends:
                await asyncio.sleep(LOCK_POLL_INTERVAL)
                token = await asyncio.to_thread(self._read, rejected)
            token = token or await asyncio.to_thread(self._read, rejected)
            if token is None:
                token = await fetch()
                await asyncio.to_thread(self._write, token)
            return token
        finally:
            await asyncio.shield(asyncio.to_thread(lock.release))

    # -- the file ----------------------------------------------------------------------------------------------

    def _read(self, rejected: Token | None) -> Token | None:
        try:
            with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                _check_permissions(os.fstat(file.fileno()))  # a FIFO would block the reader
                content = file.read(MAX_FILE_BYTES)
            payload = json.loads(self._cipher(content[:SALT_BYTES]).decrypt(content[SALT_BYTES:]))
            if payload["for"] != self._identity:
                return None
            token = Token(str(payload["value"]), float(payload["stale_at"]), float(payload["expires_at"]))
            if not (math.isfinite(token.stale_at) and math.isfinite(token.expires_at)):
                return None
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - whatever is wrong with the file, it is useless
            _LOG.debug("Could not read the token file %s: %s", self.path, type(error).__name__)
            return None
        is_good = token.state(self._clock()) is TokenState.FRESH
        return token if is_good and (rejected is None or token.value != rejected.value) else None

    def _write(self, token: Token) -> None:
        payload = {
            "for": self._identity,
            "value": token.value,
            "stale_at": token.stale_at,
            "expires_at": token.expires_at,
        }
        new = self.path.with_name(f"{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            salt = os.urandom(SALT_BYTES)
            content = salt + self._cipher(salt).encrypt(json.dumps(payload).encode())
            self._ensure_private_directory()
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            new.replace(self.path)
            self._sweep()
        except Exception as error:  # noqa: BLE001 - a token that cannot be kept is no error
            _LOG.warning(
                "Could not cache tokens in %s (%s). Each process fetches its own token.",
                self.directory,
                error,
            )
            with contextlib.suppress(OSError):
                new.unlink()

    def _sweep(self) -> None:
        """Remove unused files: tokens of former applications, and leftovers of killed writers."""
        with contextlib.suppress(OSError), os.scandir(self.directory) as files:
            for each in itertools.islice(files, MAX_FILES_SWEPT):
                if _FILE_NAME.fullmatch(each.name) and self._is_unused(each):
                    Path(each.path).unlink(missing_ok=True)

    def _is_unused(self, file: os.DirEntry[str]) -> bool:
        age = self._clock() - file.stat(follow_symlinks=False).st_mtime
        token_file, _, kind = file.name.partition(".")
        if kind == "lock":  # it is written once, so its own age means nothing
            return age > WRITING_TIMEOUT and not (self.directory / token_file).exists()
        return age > (WRITING_TIMEOUT if kind else UNUSED_AFTER)

    @property
    def _identity(self) -> list[str]:
        return [self._key.api, self._key.token_url, self._key.client_id]

    def _cipher(self, salt: bytes) -> Any:
        # A dependency of Airflow. Its import takes long, and most processes do not need it.
        from cryptography.fernet import Fernet  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF  # noqa: PLC0415

        derive = HKDF(SHA256(), length=32, salt=salt, info=b"airflow-provider-airbyte-api token file")
        return Fernet(base64.urlsafe_b64encode(derive.derive(self._secret.encode())))

    # -- locking -----------------------------------------------------------------------------------------------

    def _open_lock(self) -> _Lock:
        with contextlib.suppress(OSError):
            self._ensure_private_directory()
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            return _Lock(os.fdopen(os.open(self.path.with_suffix(".lock"), flags, 0o600), "wb"))
        return _Lock(None)

    def _ensure_private_directory(self) -> None:
        """Create the directory.

        :raises PermissionError: if it belongs to another user, or others may access it.
        """
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_permissions(self.directory.lstat(), is_folder=True)


class _Lock:
    """The lock file of the processes, or None if it cannot be created. Its methods may be called in any thread."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self._pid = os.getpid()

    def acquire(self) -> bool:
        """Return True if no other process holds the lock."""
        if self._file is None:
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True  # a file system without locks
        return True

    def release(self) -> None:
        """Unlock the file and close it.

        Closing alone would leave it locked as long as a child process lives that was forked in the meantime.
        """
        if self._file is None:
            return
        with contextlib.suppress(OSError):
            if os.getpid() == self._pid:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()


def _check_permissions(found: os.stat_result, *, is_folder: bool = False) -> None:
    expected, mode = (stat.S_ISDIR, "0700") if is_folder else (stat.S_ISREG, "0600")
    if not expected(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"expected one that this user owns, with mode {mode}")
