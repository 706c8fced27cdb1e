"""From what people type as Airbyte's address to the one root that all requests start from."""

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
"""The scheme of the URIs that stand for Airbyte's connections, and for their streams, as Airflow's assets."""

_API_PATH = "/api/public/v1"
_OLD_API_SERVER_PORT = 8006
"""Up to 0.63 a server of its own answered the public API, below /v1 of this port."""

EXPECTED_ADDRESS = (
    f"Expected {CLOUD_API} for Airbyte Cloud, http://localhost:8000 for a local Airbyte, "
    "or the address of your Airbyte's web page."
)


@dataclass(frozen=True)
class AirbyteUrls:
    """``api`` is what request paths are appended to, ``ui`` is the root of Airbyte's web app. No final slash."""

    api_url: str
    web_url: str

    @property
    def is_cloud(self) -> bool:
        """True for Airbyte Cloud."""
        return self.api_url == CLOUD_API

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.web_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def netloc(self) -> str:
        """Host and port, the latter only if it is not the scheme's own."""
        parts = urlsplit(self.api_url)
        standard = {"http": 80, "https": 443}[parts.scheme]
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        return host if parts.port in (None, standard) else f"{host}:{parts.port}"

    @property
    def address(self) -> str:
        """Host and port, and the path below which this Airbyte lives if it has one: what tells two Airbytes apart."""
        path = urlsplit(self.api_url).path
        return self.netloc + (path.removesuffix(_API_PATH) if path.endswith(_API_PATH) else "")

    def asset_uri(self, connection_id: str, *stream: str) -> str:
        """Return the URI that stands for a connection as an asset, or for one of its streams: namespace, name."""
        path = "/".join(quote(part, safe="") for part in (connection_id, *stream))
        return f"{ASSET_SCHEME}://{self.address}/{path}"

    def connection_url(self, workspace_id: str, connection_id: str) -> str:
        """Return the page of a connection in the web app."""
        return f"{self.web_url}/workspaces/{workspace_id}/connections/{connection_id}"

    def job_url(self, workspace_id: str, connection_id: str, job_id: int) -> str:
        """Return the page of a job in the web app, with its log open."""
        return f"{self.connection_url(workspace_id, connection_id)}/timeline?jobId={job_id}&openLogs=true"


def parse_host(address: str, port: int | None = None) -> AirbyteUrls:
    """Return the API root for ``address``, as people type it.

    Cloud and self-managed, the API's address or the web app's, with or without scheme, ``/api/public/v1``, final
    slash, or a page's path; also the values that the Apache provider's documentation tells people to use.
    ``port`` counts where ``address`` names none.

    :raises AirbyteConfigError: if it is empty, no http(s) URL, or holds a password.
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
        raise AirbyteConfigError(f"Port is {port}, expected a number from 1 to 65535, or nothing. {EXPECTED_ADDRESS}")
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
            "Airbyte URL (Host) contains an '@', and so perhaps a password. Put the client id into Client ID (Login), "
            "the client secret into Client secret (Password), and the bare address into Airbyte URL (Host). "
            f"{EXPECTED_ADDRESS}"
        )
    if "://" not in text:
        text = f"{_default_scheme(text)}://{text}"
    try:
        parts = urlsplit(text)
        port_is_a_number = parts.port is None or parts.port > 0
    except ValueError:
        raise AirbyteConfigError(f"Airbyte URL (Host) is {text!r}, which is no URL. {EXPECTED_ADDRESS}") from None
    if parts.scheme not in ("http", "https") or not _is_host(parts.hostname or "") or not port_is_a_number:
        raise AirbyteConfigError(f"Airbyte URL (Host) is {text!r}, which is no http or https URL. {EXPECTED_ADDRESS}")
    return parts


def _is_host(name: str) -> bool:
    """Tell whether ``name`` is a name or an address that a resolver would take."""
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            return re.fullmatch(rb"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?", name.lower().encode("idna")) is not None
        except UnicodeError:
            return False
    return True


def _default_scheme(text: str) -> str:
    """Return http for what only this machine or network can reach, https for all else.

    A secret is never sent in the clear because somebody left out six letters.
    """
    name = text.split("/", maxsplit=1)[0]
    name = name[1 : name.find("]")] if name.startswith("[") else name.split(":")[0]
    try:
        return "http" if ipaddress.ip_address(name).is_private else "https"
    except ValueError:
        local = "." not in name or name.endswith((".localhost", ".local", ".internal", ".svc"))
        return "http" if local else "https"


def _strip_airbyte_path(path: str) -> str:
    """Return ``path`` without what belongs to Airbyte's API or web app, so that a proxy's prefix is left."""
    path = re.sub(r"/(api/(public/)?v1|api/public|api|v1)(/applications(/token)?|/health)?$", "", path)
    return re.sub(r"/((workspaces|organization)(/.*)?|auth|login|setup)$", "", path)
