"""The page of Airbyte syncs as a person sees it, and a made-up history for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from selenium.webdriver.support.wait import WebDriverWait

from tests.browser.driver import SECONDS, Browser
from tests.helpers.api_server import PastSync

HOSTILE = "<img src=x onerror=alert(1)>"
CONNECTIONS = ["Stripe → BigQuery", "Postgres → Snowflake", "GitHub → S3", HOSTILE]


def connection_id(number: int) -> str:
    return f"9924bcd0-99be-453d-ba47-{number:012d}"


def sync(number: int, state: str, start: float, end: float | None = None, **changes: Any) -> PastSync:
    """Return a sync of the connection with this number, which the DAG ``load_<number>`` ran."""
    status = {"success": "succeeded", "failed": "failed", "deferred": "running"}[state]
    identity = connection_id(number)
    job_id = number * 1000 + int(start) % 1000
    base = f"https://airbyte.example.com/workspaces/w/connections/{identity}"
    job = {
        "job_id": job_id,
        "connection_id": identity,
        "connection_name": CONNECTIONS[number] if number < len(CONNECTIONS) else f"Connection {number:03d}",
        "status": status,
        "rows": 250_000,
        "bytes": 104_857_600,
        "started_at": None,
        "updated_at": None,
        "attempt": 1,
        "job_url": f"{base}/timeline?jobId={job_id}&openLogs=true",
        "reason": {"origin": "source", "kind": "config_error", "message": "The password is wrong."}
        if state == "failed"
        else None,
        **changes.pop("job", {}),
    }
    return PastSync(
        **{
            "dag_id": f"load_{number}",
            "run_id": f"manual__2026-11-20T00:00:{int(start)}+00:00",
            "state": state,
            "start": start,
            "end": end,
            "rendered": {"connection_id": identity, "airbyte_conn_id": "airbyte_api_default"},
            "xcoms": {"airbyte_sync": job},
            **changes,
        }
    )


def large_history() -> Iterator[PastSync]:
    """Yield 5,000 syncs of 200 connections: one each five minutes."""
    for number in range(5_000):
        state = "failed" if number % 17 == 0 else "success"
        yield sync(number % 200 + 10, state, 300.0 * number + 600, 300.0 * number + 300)


class Page:
    """The page, for a user who has logged in."""

    def __init__(self, browser: Browser, server: Any) -> None:
        self.browser, self.server = browser, server

    def open(self, query: str = "", user: str = "admin") -> Page:
        driver = self.browser.driver
        driver.get(f"{self.server.url}/airbyte/static/airbyte.svg")
        driver.add_cookie({"name": "_token", "value": self.server.token(user), "path": "/"})
        driver.get(f"{self.server.url}/plugin/airbyte{query}")
        return self

    @property
    def text(self) -> str:
        return self._text(".aby")

    def section(self, name: str) -> str:
        return self._text(f"section[aria-label='{name}']")

    def _text(self, selector: str) -> str:
        """Return the text of an element in one step: React may replace the element at any time."""
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        found: str = self.browser.driver.execute_script(script, selector)
        return found

    @property
    def alert(self) -> str:
        return self._text(".aby [role=alert]")

    @property
    def tooltip(self) -> str:
        return self._text(".aby [role=tooltip]")

    def wait_until(self, condition: Callable[[], bool], seconds: float = SECONDS) -> None:
        WebDriverWait(self.browser.driver, seconds).until(lambda _: condition())

    def wait_for(self, name: str, words: str) -> str:
        """Return the text of a section once it has ``words`` in it."""
        self.wait_until(lambda: words in self.section(name))
        return self.section(name)

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what an asynchronous function with this body returns, with the modules of the page."""
        modules = "const load = (name) => import(new URL(`airbyte/static/${name}.js`, document.baseURI).href);"
        body = (
            f"const done = arguments[arguments.length - 1]; {modules} (async (...args) => {{ {script} }})(...arguments)"
        )
        result = self.browser.driver.execute_async_script(
            f"{body}.then((value) => done([value]), (error) => done(String(error)))", *arguments
        )
        assert isinstance(result, list), result
        return result[0]

    def first_view(self) -> tuple[int, float]:
        """Return how many requests the first view of the data took, and the seconds after the last one of them."""
        requests, seconds = self.run(
            """
            const shown = performance.getEntriesByName("airbyte:first-view")[0].startTime;
            const ended = performance.getEntriesByType("resource")
              .filter((entry) => /AirbyteSyncOperator|airbyte_sync|assets\\/events/.test(entry.name))
              .map((entry) => entry.responseEnd)
              .filter((end) => end <= shown);
            return [ended.length, (shown - Math.max(...ended)) / 1000];
            """
        )
        return requests, seconds

    def requests(self) -> list[str]:
        """Return the URLs of all requests since the last call."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]

    def errors(self) -> list[str]:
        """Return the errors in the console."""
        return [entry["message"] for entry in self._log("browser") if entry["level"] == "SEVERE"]

    def _log(self, kind: str) -> list[dict[str, Any]]:
        driver: Any = self.browser.driver  # its get_log has no types
        found: list[dict[str, Any]] = driver.get_log(kind)
        return found
