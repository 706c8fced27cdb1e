"""Mask secrets of a request in its response: a server may repeat a request, with its secrets, in an error."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "***"

MIN_SECRET = 4
"""Minimum length of a masked secret, in characters. Masking shorter ones would only garble errors."""


def mask(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with ``***`` in place of each of ``secrets``, in any of its encodings.

    The encodings are the plain text, URL-encoding, JSON and HTML escapes, and base64. Case is ignored.
    """
    spellings = {spelling for secret in secrets for spelling in _encodings(secret)}
    if not spellings:
        return text
    longest_first = sorted(spellings, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), MASK, text, flags=re.IGNORECASE)


def basic_secrets(encoded: str) -> list[str]:
    """Return the secrets in the value of HTTP Basic: the value itself, ``user:password`` and the password."""
    try:
        pair = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return [encoded]
    return [encoded, pair, pair.partition(":")[2]]


def _encodings(secret: str) -> Iterable[str]:
    if len(secret) < MIN_SECRET:
        return ()
    return (
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        html.escape(secret),
        base64.b64encode(secret.encode("utf-8", "replace")).decode(),
    )
