"""The way to Airbyte that the settings or the environment name: proxies and certificates, the same for both drivers."""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, prepend_scheme_if_needed, select_proxy

from airflow_provider_airbyte_api.api.errors import AirbyteConfigError
from airflow_provider_airbyte_api.clients.settings import Settings, Tls


def proxy_for(settings: Settings, url: str) -> str | None:
    """Return the proxy to ``url``, the settings' own or else the environment's; it may hold a password.

    :raises AirbyteConfigError: if it is none that speaks HTTP.
    """
    if settings.proxy is not None:
        return settings.proxy
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
def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return whom to trust: by default those that requests does. Made once, since it takes many milliseconds."""
    environment = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    chosen = tls.ca_bundle or environment or DEFAULT_CA_BUNDLE_PATH
    if Path(chosen).is_dir():
        context = ssl.create_default_context(capath=chosen)
    else:
        context = ssl.create_default_context(cafile=chosen)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.client_cert is not None:
        context.load_cert_chain(tls.client_cert, tls.client_key)
    return context
