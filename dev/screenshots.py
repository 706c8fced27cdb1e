"""``make screenshots``: the pictures of Airflow's UI in ``docs/images``. It needs Chromium and its driver."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from dev import sandbox
from dev.stack import REPOSITORY, AirflowStack, interrupt_on_sigterm
from tests.browser.driver import CHROMIUM, DRIVER, Browser, open_browser
from tests.browser.test_connection_form import fill_in
from tests.helpers.api_server import ApiServer, PastSync

IMAGES = REPOSITORY / "docs" / "images"
HOUR = 3600.0
FAILURE_SHARE = 0.07
SYNC_SECONDS = 600.0
FOLLOWED_SECONDS = 250.0
"""How long the deferred sync has been running in its picture: for two lines about its progress."""

CONNECTIONS = {
    # name: DAG, hours between two syncs, minutes of a sync, hours since the last one
    "GitHub → S3": ("load_github", 1.0, 4, 5.2),
    "HubSpot → BigQuery": ("load_crm", 2.0, 25, 0.8),
    "MySQL orders → Snowflake": ("load_orders", 1.0, 12, 0.3),
    "Postgres billing → Snowflake": ("load_billing", 1.0, 18, 0.6),
    "Salesforce → Redshift": ("load_crm", 3.0, 55, 1.4),
    "Zendesk → BigQuery": ("load_support", 2.0, 9, 1.1),
}
RUNNING = (("Stripe → BigQuery", "load_stripe", 842, 1_482_300), ("Shopify → Snowflake", "load_shop", 318, 211_450))
THEMES = ("light", "dark")
REASONS = (
    ("source", "config_error", "The password is wrong or the user is locked."),
    ("destination", "transient_error", "Connection reset by peer while writing a batch."),
    ("source", "system_error", "The source sent no record for 24 minutes."),
)


def main() -> int:
    """Take all pictures; 0 if that worked."""
    if CHROMIUM is None or DRIVER is None:
        print("Chromium or its driver is missing: apt-get install chromium chromium-driver", file=sys.stderr)
        return 1
    interrupt_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="airbyte-screenshots-") as folder:
        take_page(Path(folder))
        take_tasks_and_connection(Path(folder))
    return 0


def take_page(folder: Path) -> None:
    """Take the page, with the syncs of a day."""
    (folder / "dags").mkdir()
    server = ApiServer(folder / "page", folder / "dags", {})
    with server:
        server.insert([*history(), *running()])
        for theme in THEMES:
            with open_browser(folder / f"page-{theme}") as browser:
                driver = browser.driver
                driver.set_window_size(1280, 1090)
                driver.get(f"{server.url}/airbyte/static/airbyte.svg")
                driver.add_cookie({"name": "_token", "value": server.token("admin"), "path": "/"})
                set_theme(browser, theme)
                driver.get(f"{server.url}/plugin/airbyte")
                browser.wait_for(REASONS[0][2])
                time.sleep(5)  # all names are there
                save(browser, f"airbyte-syncs-{theme}")


def take_tasks_and_connection(folder: Path) -> None:
    """Take a failed task, the form of the connection and a deferred task, on a running Airflow with a local Airbyte."""
    with LocalAirbyte(port=sandbox.AIRBYTE_PORT, job_seconds=SYNC_SECONDS) as airbyte:
        environment = {
            "AIRFLOW_CONN_AIRBYTE_API_DEFAULT": airbyte.airflow_connection,
            "AIRFLOW__API__DEFAULT_WRAP": "True",
        }
        with AirflowStack(folder / "airflow", REPOSITORY / "example_dags", environment) as airflow:
            deferred = airflow.trigger(sandbox.DAG_ID)
            failed = sandbox.trigger_failure(airflow, airbyte)
            while airflow.states(sandbox.DAG_ID, failed)["sync"] != "failed":
                time.sleep(1)
            with open_browser(folder / "tasks") as browser:
                take_task(browser, airflow, failed)
                take_log(browser, airflow, failed, "failed-log", "Sync failed: source, config_error")
                take_connection(browser, airflow, airbyte)
                running = sandbox.wait_for_job(airbyte, STRIPE_TO_BIGQUERY, "running")
                time.sleep(max(0.0, running.created_at + FOLLOWED_SECONDS - time.time()))
                take_log(browser, airflow, deferred, "deferred-log", "is still running")


def take_task(browser: Browser, airflow: AirflowStack, run_id: str) -> None:
    """Take the page of a failed task, which begins with its log."""
    open_task(browser, airflow, run_id, "Sync failed: source, config_error", (1280, 860))
    save(browser, "failed-task")


def take_log(browser: Browser, airflow: AirflowStack, run_id: str, name: str, text: str) -> None:
    """Take all lines of the log of a task, without the rest of its page."""
    open_task(browser, airflow, run_id, text, (1400, 1400))
    save_element(browser.find("[data-testid='virtualized-list'] > *"), name)


def open_task(browser: Browser, airflow: AirflowStack, run_id: str, text: str, size: tuple[int, int]) -> None:
    """Open the page of a task, with ``text`` in its log, and fold tracebacks: they have paths of this machine."""
    browser.driver.set_window_size(*size)
    browser.driver.get(f"{airflow.url}/dags/{sandbox.DAG_ID}/runs/{run_id}/tasks/sync")
    browser.wait_for(text)
    browser.driver.execute_script("for (const each of document.querySelectorAll('details[open]')) each.open = false")
    time.sleep(2)


def take_connection(browser: Browser, airflow: AirflowStack, airbyte: LocalAirbyte) -> None:
    """Take the form of the connection, its extra fields, and the message of its test."""
    browser.driver.set_window_size(1200, 860)
    # No variable of the environment has this connection: Airflow would test that one.
    fill_in(browser, airflow, "airbyte_production", airbyte, airbyte.client_secret)
    save(browser, "connection-form")
    browser.driver.set_window_size(1200, 2400)
    browser.button("Extra Fields").click()
    browser.find("input[name=element_config_api]")
    time.sleep(2)
    fields = "//button[contains(., 'Extra Fields')]/ancestor::*[@data-part='item'][1]"
    save_element(browser.find(fields, By.XPATH), "connection-extra-fields")
    browser.driver.set_window_size(1200, 860)
    browser.button("Save").click()
    browser.button("Test Connection").click()
    browser.wait_for("Connected to Airbyte")
    save(browser, "connection-test")


def set_theme(browser: Browser, theme: str) -> None:
    """Let Airflow's UI be light or dark."""
    browser.driver.execute_script("localStorage.setItem('theme', arguments[0])", theme)


def save(browser: Browser, name: str) -> None:
    browser.driver.save_screenshot(str(IMAGES / f"{name}.png"))
    print(f"docs/images/{name}.png", flush=True)


def save_element(element: WebElement, name: str) -> None:
    element.screenshot(str(IMAGES / f"{name}.png"))
    print(f"docs/images/{name}.png", flush=True)


def history() -> Iterator[PastSync]:
    """Yield the syncs of a day, the same ones each time."""
    dice = random.Random(20)
    for number, (name, (dag_id, interval, minutes, since)) in enumerate(CONNECTIONS.items(), 1):
        connection_id = f"4f1c0d8b-e2a9-4f6c-8b1d-{number:012d}"
        for index in range(int((24 - since) / interval)):
            start = (since + interval * index + dice.uniform(0, 0.1)) * HOUR + minutes * 60
            reason = dice.choice(REASONS) if dice.random() < FAILURE_SHARE else None
            yield past_sync(
                dag_id, connection_id, name, start, minutes * dice.uniform(40, 80), reason, dice.randrange(9)
            )


def running() -> Iterator[PastSync]:
    """Yield the syncs that run."""
    for number, (name, dag_id, start, rows) in enumerate(RUNNING):
        connection_id = f"4f1c0d8b-e2a9-4f6c-8b1d-{900 + number:012d}"
        sync = past_sync(dag_id, connection_id, name, start, 0, None, 0)
        sync.state, sync.end = "deferred", None
        times = {"started_at": timestamp(start - 4), "updated_at": timestamp(6)}
        sync.xcoms["airbyte_sync"] |= {"status": "running", "rows": rows, "bytes": rows * 420, **times}
        yield sync


def timestamp(seconds: float) -> str:
    """Return the time that was ``seconds`` ago."""
    return datetime.fromtimestamp(time.time() - seconds, timezone.utc).isoformat()


def past_sync(
    dag_id: str,
    connection_id: str,
    name: str,
    start: float,
    seconds: float,
    reason: tuple[str, str, str] | None,
    share: int,
) -> PastSync:
    """Return a sync that began ``start`` seconds ago."""
    job_id = 48_000 - int(start // 60)
    rows = int(seconds * 430 + share * 1_117)
    return PastSync(
        dag_id,
        f"scheduled__{int(start)}",
        "failed" if reason else "success",
        start,
        start - seconds,
        task_id=name.partition(" ")[0].lower(),
        rendered={"connection_id": connection_id},
        xcoms={
            "airbyte_sync": {
                "job_id": job_id,
                "connection_id": connection_id,
                "connection_name": name,
                "status": "failed" if reason else "succeeded",
                "rows": None if reason else rows,
                "bytes": None if reason else rows * 420,
                "job_url": f"https://airbyte.example.com/workspaces/w/connections/{connection_id}/timeline?jobId={job_id}",
                "reason": reason and dict(zip(("origin", "kind", "message"), reason, strict=True)),
            }
        },
    )


if __name__ == "__main__":
    sys.exit(main())
