"""``make screenshots``: the pictures of Airflow's UI in ``docs/images``. It needs Chromium and its driver."""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_POSTGRES
from dev import sandbox
from dev.stack import REPOSITORY, AirflowStack, interrupt_on_sigterm
from tests.browser.conftest import open_browser
from tests.browser.driver import CHROMIUM, DRIVER, Browser
from tests.browser.test_connection_form import fill_in
from tests.helpers.api_server import ApiServer, PastSync

IMAGES = REPOSITORY / "docs" / "images"
HOUR = 3600.0
FAILURE_SHARE = 0.07
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
        take_task_and_connection(Path(folder))
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


def take_task_and_connection(folder: Path) -> None:
    """Take a failed task and the form of the connection, on a running Airflow with a local Airbyte."""
    with LocalAirbyte(port=sandbox.AIRBYTE_PORT, job_seconds=20.0) as airbyte:
        environment = {"AIRFLOW_CONN_AIRBYTE_API_DEFAULT": airbyte.airflow_connection}
        with AirflowStack(folder / "airflow", REPOSITORY / "example_dags", environment) as airflow:
            run_id = airflow.trigger(sandbox.DAG_ID, {"connection_id": STRIPE_TO_POSTGRES})
            job = sandbox.wait_for_job(airbyte, STRIPE_TO_POSTGRES, "running")
            airbyte.fail_job(job.job_id, sandbox.FAILURE)
            while airflow.states(sandbox.DAG_ID, run_id)["sync"] != "failed":
                time.sleep(1)
            for theme in THEMES:
                with open_browser(folder / f"task-{theme}") as browser:
                    browser.driver.set_window_size(1280, 860)
                    browser.driver.get(f"{airflow.url}/airbyte/static/airbyte.svg")
                    set_theme(browser, theme)
                    browser.driver.get(f"{airflow.url}/dags/{sandbox.DAG_ID}/runs/{run_id}/tasks/sync")
                    browser.wait_for(sandbox.FAILURE)
                    time.sleep(2)
                    save(browser, f"failed-task-{theme}")
                    if theme == "light":
                        take_connection(browser, airflow, airbyte)


def take_connection(browser: Browser, airflow: AirflowStack, airbyte: LocalAirbyte) -> None:
    """Take the form of the connection, and the message of its test."""
    browser.driver.set_window_size(1200, 860)
    fill_in(browser, airflow, "airbyte_api_default", airbyte, airbyte.client_secret)
    save(browser, "connection-form")
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
