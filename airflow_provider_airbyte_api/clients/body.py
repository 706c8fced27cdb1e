"""Read the body of a response with a limit on its size in any encoding. Both clients use it."""

from __future__ import annotations

import zlib
from typing import Any

from airflow_provider_airbyte_api.api.http import MAX_ERROR_BODY_BYTES, TransportErrorKind

ACCEPT_ENCODING = "gzip, deflate"
"""The encodings that :class:`Body` decodes. Not brotli or zstd: their decoders do not limit what a few bytes expand to.
"""

CHUNK = 64 * 1024
"""Number of bytes per read from the socket."""

_GZIP = zlib.MAX_WBITS + 16
_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": zlib.MAX_WBITS}


class BodyError(Exception):
    """The body cannot be read. The message is a short reason."""

    def __init__(self, message: str, kind: TransportErrorKind = TransportErrorKind.OTHER) -> None:
        super().__init__(message)
        self.kind = kind


class Body:
    """The body of one response, decoded as it arrives.

    Only the first :data:`MAX_ERROR_BODY_BYTES` bytes of an error response are kept: only its message is of use.

    :param status: the HTTP status.
    :param encoding: the header ``Content-Encoding``; empty for none.
    :param max_bytes: maximum size of a 2xx response in bytes, before and after decoding.
    :raises BodyError: if the request did not accept the encoding.
    """

    def __init__(self, status: int, encoding: str, max_bytes: int) -> None:
        self._truncate = not 200 <= status < 300  # noqa: PLR2004
        self._max_bytes = MAX_ERROR_BODY_BYTES if self._truncate else max_bytes
        self._content = bytearray()
        self._received = 0
        encoding = encoding.strip().lower()
        self._window = _WINDOWS.get(encoding)
        if self._window is None and encoding not in ("", "identity"):
            raise BodyError(f"the response is encoded as {encoding[:40]!r}, which was not requested")
        self._decoder: Any = None if self._window is None else zlib.decompressobj(self._window)

    @property
    def is_full(self) -> bool:
        """True once no more data has to be read."""
        return self._truncate and len(self._content) >= self._max_bytes

    def feed(self, data: bytes) -> None:
        """Add data from the socket.

        :raises BodyError: if the body is too large, or cannot be decoded.
        """
        self._received += len(data)
        self._content += data if self._window is None else self._decoded(data)
        if max(len(self._content), self._received) <= self._max_bytes:
            return
        if not self._truncate:
            raise BodyError(f"the response is larger than {self._max_bytes // 1024} KiB", TransportErrorKind.TOO_LARGE)
        del self._content[self._max_bytes :]

    def content(self) -> bytes:
        """Return the complete body.

        :raises BodyError: if the compressed data end too early.
        """
        if self._received and self._decoder is not None and not self._decoder.eof and not self.is_full:
            raise BodyError("the compressed response is incomplete")
        return bytes(self._content)

    def _decoded(self, data: bytes) -> bytes:
        room = self._max_bytes + 1 - len(self._content)
        decoded = bytearray()
        while data and len(decoded) < room:
            if self._decoder.eof:  # a body may consist of several gzip members; anything else that follows is padding
                if self._window != _GZIP or not data.startswith(b"\x1f"):
                    break
                self._decoder = zlib.decompressobj(self._window)
            decoded += self._decompress(data, room - len(decoded))
            data = self._decoder.unused_data
        return bytes(decoded)

    def _decompress(self, data: bytes, room: int) -> bytes:
        try:
            decompressed: bytes = self._decoder.decompress(data, room)
        except zlib.error:
            if self._window != zlib.MAX_WBITS or self._received > len(data):
                raise BodyError("the compressed response cannot be decoded") from None
            self._window = -zlib.MAX_WBITS  # some servers send deflate without the zlib header
            self._decoder = zlib.decompressobj(self._window)
            return self._decompress(data, room)
        return decompressed
