"""Proxies and certificates from the settings or the environment, the same for both clients.

``requests.utils`` is public: its functions are "also useful for external consumption".
"""

from __future__ import annotations

import functools
import os
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_environ_proxies, prepend_scheme_if_needed, select_proxy

from airflow_provider_airbyte_api.clients.settings import ClientSettings, TlsSettings
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError


def get_proxy(settings: ClientSettings, url: str) -> str | None:
    """Return the proxy for ``url``, from the settings or otherwise from the environment. It may contain a password.

    :raises AirbyteConfigError: if it is not an HTTP proxy.
    """
    if settings.proxy is not None:
        return settings.proxy
    found = select_proxy(url, get_environ_proxies(url, no_proxy=None))
    if not found:
        return None
    try:
        proxy: str = prepend_scheme_if_needed(found, "http")  # type: ignore[no-untyped-call] # requests' own
        parts = urlsplit(proxy)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and proxy.isascii()
    except ValueError:
        is_one = False
    if not is_one:
        raise AirbyteConfigError(
            "The proxy of the environment is invalid, expected a URL such as http://proxy.example.com:3128. Change "
            "the environment's http_proxy, https_proxy or all_proxy, or add Airbyte's host to no_proxy."
        )
    return proxy


def get_ca_bundle(tls_config: TlsSettings) -> str:
    """Return the file or directory of the trusted CAs: from the settings, the environment, or requests."""
    environment = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return tls_config.ca_bundle or environment or DEFAULT_CA_BUNDLE_PATH


def uses_custom_files(tls_config: TlsSettings) -> bool:
    """Return True if the settings or the environment name a file. It may not be usable."""
    return bool((tls_config.verify and get_ca_bundle(tls_config) != DEFAULT_CA_BUNDLE_PATH) or tls_config.client_cert)


def create_ssl_context(tls_config: TlsSettings) -> ssl.SSLContext:
    """Return the TLS context. It is created once for the same files, because that takes many milliseconds.

    :raises AirbyteConfigError: with the name of the file that cannot be used.
    """
    chosen = get_ca_bundle(tls_config)
    files = [
        path for path in (chosen if tls_config.verify else None, tls_config.client_cert, tls_config.client_key) if path
    ]
    try:
        return _context(tls_config, chosen, tuple(Path(path).stat().st_mtime for path in files))
    except OSError as error:  # an SSLError is an OSError
        named = " and ".join(name for name, path in _file_labels(tls_config, chosen) if path in files)
        raise AirbyteConfigError(
            f"TLS cannot be set up with {named}: {getattr(error, 'reason', None) or error.strerror or 'unusable'}. "
            "Expected PEM files on this machine: a certificate and its key, without a passphrase."
        ) from None


def _file_labels(tls_config: TlsSettings, chosen: str) -> list[tuple[str, str | None]]:
    trusted = (
        "the extra ca_bundle" if tls_config.ca_bundle else "REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE of the environment"
    )
    return [
        (trusted, chosen),
        ("the extra client_cert", tls_config.client_cert),
        ("the extra client_key", tls_config.client_key),
    ]


@functools.lru_cache(maxsize=32)
def _context(tls_config: TlsSettings, chosen: str, changed_at: tuple[float, ...]) -> ssl.SSLContext:  # noqa: ARG001 - part of the key
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not tls_config.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif Path(chosen).is_dir():
        context.load_verify_locations(capath=chosen)
    else:
        context.load_verify_locations(cafile=chosen)
    if tls_config.client_cert is not None:
        context.load_cert_chain(tls_config.client_cert, tls_config.client_key, password=lambda: b"")
    return context
