"""Parse Airbyte's address, as users type it, into the one root URL of all requests."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urlsplit

from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

CLOUD_API = "https://api.airbyte.com/v1"
CLOUD_UI = "https://cloud.airbyte.com"
_CLOUD_HOSTS = frozenset({"api.airbyte.com", "cloud.airbyte.com"})

ASSET_SCHEME = "airbyte"
"""The scheme of the asset URIs of Airbyte's connections and streams in Airflow."""

_API_PATH = "/api/public/v1"
_CONFIG_API_PATH = "/api/v1"
_OLD_API_SERVER_PORT = 8006
"""Up to 0.63, a separate server answered the public API, below /v1 on this port."""

EXPECTED_ADDRESS = (
    f"Expected {CLOUD_API} for Airbyte Cloud, http://localhost:8000 for a local Airbyte, "
    "or the address of your Airbyte's web app."
)


@dataclass(frozen=True)
class AirbyteUrls:
    """Root URLs without a final slash: request paths are appended to ``api_url``, ``web_url`` is the web app's."""

    api_url: str
    web_url: str

    @property
    def is_cloud(self) -> bool:
        """True for Airbyte Cloud."""
        return self.api_url == CLOUD_API

    @property
    def config_url(self) -> str:
        """The usual root URL of Airbyte's internal API, which its web app calls."""
        return self.web_url + _CONFIG_API_PATH

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.web_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def netloc(self) -> str:
        """Host and port; the port is omitted if it is the scheme's default."""
        parts = urlsplit(self.api_url)
        standard = {"http": 80, "https": 443}[parts.scheme]
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        return host if parts.port in (None, standard) else f"{host}:{parts.port}"

    @property
    def address(self) -> str:
        """Host, port, and the path prefix of this Airbyte if it has one. It distinguishes one Airbyte from another."""
        path = urlsplit(self.api_url).path
        return self.netloc + (path.removesuffix(_API_PATH) if path.endswith(_API_PATH) else "")

    def asset_uri(self, connection_id: str, *stream: str) -> str:
        """Return the asset URI of a connection, or of one of its streams, given as namespace and name."""
        path = "/".join(quote(part, safe="") for part in (connection_id, *stream))
        return f"{ASSET_SCHEME}://{self.address}/{path}"

    def connection_url(self, workspace_id: str, connection_id: str) -> str:
        """Return the URL of a connection's page in the web app."""
        return f"{self.web_url}/workspaces/{workspace_id}/connections/{connection_id}"

    def job_url(self, workspace_id: str, connection_id: str, job_id: int) -> str:
        """Return the URL of a job's page in the web app, with its log open."""
        return f"{self.connection_url(workspace_id, connection_id)}/timeline?jobId={job_id}&openLogs=true"


def parse_host(address: str, port: int | None = None) -> AirbyteUrls:
    """Return the URLs for ``address``, as users type it.

    Accepted are Cloud and self-managed addresses, of the API or the web app. The scheme, ``/api/public/v1``, a final
    slash and a page's path are optional. The values that the Apache provider's documentation recommends are accepted,
    too. ``port`` applies if ``address`` has none.

    :raises AirbyteConfigError: if it is empty, not an http(s) URL, or contains a password.
    """
    text = address.strip()
    if not text:
        raise AirbyteConfigError(f"The Airflow connection has no Airbyte URL (Host). {EXPECTED_ADDRESS}")
    parts = _split(text)
    host = (parts.hostname or "").lower()
    if host in _CLOUD_HOSTS:
        return AirbyteUrls(api_url=CLOUD_API, web_url=CLOUD_UI)
    port = parts.port or port
    if port is not None and not 0 < port < 65_536:  # noqa: PLR2004
        raise AirbyteConfigError(
            f"Port is {port}, expected a number from 1 to 65535, or an empty field. {EXPECTED_ADDRESS}"
        )
    netloc = f"[{host}]" if ":" in host else host
    origin = f"{parts.scheme}://{netloc}" + (f":{port}" if port else "")
    path = re.sub(r"/{2,}", "/", parts.path).rstrip("/")
    if path == "/v1" and port == _OLD_API_SERVER_PORT:
        return AirbyteUrls(api_url=origin + path, web_url=f"{parts.scheme}://{netloc}:8000")
    prefix = _strip_airbyte_path(path)
    return AirbyteUrls(api_url=origin + prefix + _API_PATH, web_url=origin + prefix)


def _split(text: str) -> SplitResult:
    if "@" in text:
        raise AirbyteConfigError(
            "Airbyte URL (Host) contains an '@', and so possibly a password. Enter the client id in Client ID (Login), "
            "the client secret in Client secret (Password), and only the address in Airbyte URL (Host). "
            f"{EXPECTED_ADDRESS}"
        )
    if "://" not in text:
        text = f"{_default_scheme(text)}://{text}"
    try:
        parts = urlsplit(text)
        port_is_a_number = parts.port is None or parts.port > 0
    except ValueError:
        raise AirbyteConfigError(f"Airbyte URL (Host) is {text!r}, which is not a URL. {EXPECTED_ADDRESS}") from None
    if parts.scheme not in ("http", "https") or not _is_host(parts.hostname or "") or not port_is_a_number:
        raise AirbyteConfigError(
            f"Airbyte URL (Host) is {text!r}, which is not an http or https URL. {EXPECTED_ADDRESS}"
        )
    return parts


def _is_host(name: str) -> bool:
    """Return True if ``name`` is a host name or an IP address that a resolver accepts."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            return re.fullmatch(rb"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?", name.lower().encode("idna")) is not None
        except UnicodeError:
            return False
    return True


def _default_scheme(text: str) -> str:
    """Return http for a host of this machine or a private network, https for any other.

    So a secret is never sent unencrypted only because the scheme was left out.
    """
    name = text.split("/", maxsplit=1)[0]
    name = name[1 : name.find("]")] if name.startswith("[") else name.split(":")[0]
    try:
        return "http" if ipaddress.ip_address(name).is_private else "https"
    except ValueError:
        local = "." not in name or name.endswith((".localhost", ".local", ".internal", ".svc"))
        return "http" if local else "https"


def _strip_airbyte_path(path: str) -> str:
    """Return ``path`` without the part of Airbyte's API or web app. A proxy's prefix remains."""
    path = re.sub(r"/(api/(public/)?v1|api/public|api|v1)(/applications(/token)?|/health)?$", "", path)
    return re.sub(r"/((workspaces|organization)(/.*)?|auth|login|setup)$", "", path)
