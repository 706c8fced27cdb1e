from __future__ import annotations

import pytest

from airflow_provider_airbyte_api.api.base_url import AirbyteUrls, parse_host
from airflow_provider_airbyte_api.exceptions import AirbyteConfigError

CLOUD = AirbyteUrls("https://api.airbyte.com/v1", "https://cloud.airbyte.com")


@pytest.mark.parametrize(
    "typed",
    [
        "https://api.airbyte.com/v1",
        "https://api.airbyte.com/v1/",
        "https://api.airbyte.com",
        "api.airbyte.com",
        "http://api.airbyte.com",
        "https://api.airbyte.com/v1/applications/token",
        "https://cloud.airbyte.com",
        "cloud.airbyte.com/workspaces/4d1c/connections",
        "  HTTPS://API.AIRBYTE.COM/v1/  ",
    ],
)
def test_every_spelling_of_cloud_is_one_root(typed: str) -> None:
    assert parse_host(typed) == CLOUD


@pytest.mark.parametrize(
    ("typed", "origin"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/", "http://localhost:8000"),
        ("http://localhost:8000/api", "http://localhost:8000"),
        ("http://localhost:8000/api/v1/", "http://localhost:8000"),
        ("http://localhost:8000/api/public", "http://localhost:8000"),
        ("http://localhost:8000/api/public/v1/", "http://localhost:8000"),
        ("http://localhost:8000//api//public//v1", "http://localhost:8000"),
        ("http://localhost:8000/v1", "http://localhost:8000"),
        ("http://localhost:8000/api/public/v1/applications/token", "http://localhost:8000"),
        ("http://localhost:8000/api/public/v1/health", "http://localhost:8000"),
        ("http://localhost:8000/workspaces/4d1c/connections/99/status", "http://localhost:8000"),
        ("http://localhost:8000/organization/4d1c/settings", "http://localhost:8000"),
        ("http://localhost:8000/login", "http://localhost:8000"),
        ("airbyte.example.com", "https://airbyte.example.com"),
        ("airbyte.example.com:8443", "https://airbyte.example.com:8443"),
        ("https://airbyte.example.com?x=1#y", "https://airbyte.example.com"),
        ("https://example.com/tools/airbyte/api/public/v1", "https://example.com/tools/airbyte"),
        ("airbyte-server-svc:8001", "http://airbyte-server-svc:8001"),
        ("airbyte-server.data.svc.cluster.local:8001", "http://airbyte-server.data.svc.cluster.local:8001"),
        ("10.0.0.7:8000", "http://10.0.0.7:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("8.8.8.8", "https://8.8.8.8"),
    ],
)
def test_every_spelling_of_a_self_managed_airbyte_is_its_public_api(typed: str, origin: str) -> None:
    assert parse_host(typed) == AirbyteUrls(f"{origin}/api/public/v1", origin)


def test_the_api_server_of_old_airbytes_keeps_its_own_path() -> None:
    assert parse_host("http://host:8006/v1/") == AirbyteUrls("http://host:8006/v1", "http://host:8000")


def test_the_port_field_counts_where_the_host_names_none() -> None:
    assert parse_host("http://airbyte.local", 8000).api_url == "http://airbyte.local:8000/api/public/v1"
    assert parse_host("http://airbyte.local:9000", 8000).api_url == "http://airbyte.local:9000/api/public/v1"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "   ",
        "ftp://airbyte",
        "http://",
        "http://host:99999",
        "http://[::1",
        "http://a..b",
        "http://my host",
        f"http://{'a' * 70}",
    ],
)
def test_what_is_no_address_is_refused_with_what_to_write(typed: str) -> None:
    with pytest.raises(AirbyteConfigError, match=r"Expected https://api\.airbyte\.com/v1 for Airbyte Cloud"):
        parse_host(typed)


@pytest.mark.parametrize(
    "typed",
    [
        "https://me:hunter2@airbyte.example.com",
        "http://me:hun/ter2@host:8000",
        "http://me:h[unter2@host",
        "me:hunter2#@h",
    ],
)
def test_a_password_in_the_host_is_refused_and_not_repeated(typed: str) -> None:
    with pytest.raises(AirbyteConfigError) as caught:
        parse_host(typed)
    assert "Password" in str(caught.value)
    assert "unter2" not in str(caught.value)


def test_pages_of_the_web_app_are_below_its_root() -> None:
    assert CLOUD.connection_url("w", "c") == "https://cloud.airbyte.com/workspaces/w/connections/c"
    assert CLOUD.job_url("w", "c", 5) == (
        "https://cloud.airbyte.com/workspaces/w/connections/c/timeline?jobId=5&openLogs=true"
    )
