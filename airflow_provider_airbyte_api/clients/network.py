"""The way to Airbyte that the environment names, proxies and certificates, the same for both drivers."""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, prepend_scheme_if_needed, select_proxy

from airflow_provider_airbyte_api.api.errors import AirbyteConfigError


def proxy_for(url: str) -> str | None:
    """Return the proxy that the environment names for ``url``, as requests finds it; it may hold a password.

    :raises AirbyteConfigError: if it is none that speaks HTTP.
    """
    found = select_proxy(url, get_environ_proxies(url, no_proxy=None))
    if not found:
        return None
    proxy: str = prepend_scheme_if_needed(found, "http")  # type: ignore[no-untyped-call] # requests' own
    scheme = urlsplit(proxy).scheme
    if scheme not in ("http", "https"):
        raise AirbyteConfigError(
            f"The proxy of the environment speaks {scheme}, expected http or https. Change the environment's "
            "http_proxy, https_proxy or all_proxy, or name Airbyte's host in no_proxy."
        )
    return proxy


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return the certificates to trust: those that requests does. Made once, since it takes many milliseconds."""
    chosen = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or DEFAULT_CA_BUNDLE_PATH
    if Path(chosen).is_dir():
        return ssl.create_default_context(capath=chosen)
    return ssl.create_default_context(cafile=chosen)
