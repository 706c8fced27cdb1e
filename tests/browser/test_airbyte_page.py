"""The page of Airbyte syncs, in a real browser, on an API server below a path, with a made-up history.

The tests that use the fixture ``stack`` run real syncs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY
from airflow_provider_airbyte_api.ui.plugin import SYNC_OPERATORS
from dev.stack import AirflowStack
from tests.browser.airbyte_page import HOSTILE, Page, connection_id, large_history, sync
from tests.browser.driver import SECONDS, Browser, needs_browser, open_browser
from tests.helpers.api_server import ApiServer
from tests.versions import since

pytestmark = [
    needs_browser,
    pytest.mark.running_airflow,
    since("3.1", "its plugins cannot add a page to the UI"),
]

HOUR = 3600.0
UNKNOWN = "\u2013"


RUNNING = sync(0, "deferred", 60)
HISTORY = [
    RUNNING,
    *(sync(0, "success", HOUR * number, HOUR * number - 600) for number in range(1, 5)),
    *(sync(1, "success", HOUR * number, HOUR * number - 600) for number in range(9, 14)),
    sync(2, "failed", 1800, 1500),
    sync(2, "success", 7200, 7000),
    sync(3, "failed", 2400, 2300, job={"reason": {"origin": None, "kind": None, "message": HOSTILE}}),
    sync(3, "success", 9000, 8000, dag_id="secret_dag"),
]


DAG_FILE = """
from airflow.sdk import DAG
from airflow_provider_airbyte_api.operators.airbyte import AirbyteSyncOperator

for dag_id in ("load_0", "load_1", "load_2", "load_3", "secret_dag"):
    with DAG(dag_id) as dag:
        AirbyteSyncOperator(task_id="sync", connection_name="Stripe")
    globals()[dag_id] = dag
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    home: Path = tmp_path_factory.mktemp("api-server")
    (home / "dags").mkdir()
    (home / "dags" / "load.py").write_text(DAG_FILE)
    running = ApiServer(home, home / "dags", {})
    with running:
        running.insert(HISTORY)
        yield running


@pytest.fixture(scope="module")
def shared_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def page(shared_browser: Browser, server: ApiServer) -> Page:
    """The page in a browser without a session."""
    driver = shared_browser.driver
    driver.set_window_size(1200, 860)
    driver.get(f"{server.url}/airbyte/static/airbyte.svg")
    driver.delete_all_cookies()
    fresh = Page(shared_browser, server)
    fresh.requests()
    fresh.errors()
    return fresh


def test_it_shows_what_runs_what_failed_and_how_fresh_each_connection_is(page: Page) -> None:
    page.open()
    running = page.wait_for("Running now", "250,000")
    assert "Stripe → BigQuery" in running
    assert "105 MB" in running
    connections = page.wait_for("Connections", "Postgres → Snowflake")
    assert "usually every 1 h" in connections
    assert connections.index("Late") < connections.index("Failing") < connections.index("Running")
    failed = page.wait_for("Failed", "source, config_error: The password is wrong.")
    assert "GitHub → S3" in failed
    links = page.run(
        """
        const links = [...document.querySelectorAll(".aby a")];
        return Object.fromEntries(links.map((link) => [link.innerText, link.href]));
        """
    )
    assert links["load_2.sync"].startswith(f"{page.server.url}/dags/load_2/runs/manual__2026-11-20T00")
    assert links["load_2.sync"].endswith("/tasks/sync")
    assert links["GitHub → S3"] == f"https://airbyte.example.com/workspaces/w/connections/{connection_id(2)}"
    assert f"/connections/{connection_id(2)}/timeline?jobId=" in links["Job 2800"]
    assert page.errors() == []


def test_no_request_leaves_the_origin(page: Page) -> None:
    page.open()
    page.wait_for("Failed", "The password is wrong.")
    origins = {urlsplit(url).netloc for url in page.requests() if urlsplit(url).scheme.startswith("http")}
    assert origins == {urlsplit(page.server.url).netloc}


def test_a_name_is_text(page: Page) -> None:
    page.open()
    assert HOSTILE in page.wait_for("Connections", HOSTILE)
    assert HOSTILE in page.wait_for("Failed", HOSTILE)
    assert page.browser.driver.find_elements(By.CSS_SELECTOR, ".aby img") == []
    page.open("?dag=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E&connection=%3Cimg%20src%3Dx%3E")
    page.browser.wait_for("Airflow has no such DAG. Remove the DAG from the filters.")
    assert page.browser.driver.find_elements(By.CSS_SELECTOR, ".aby img") == []


def test_a_viewer_sees_syncs_of_dags_that_may_be_read(page: Page) -> None:
    page.open()
    page.wait_for("Connections", "Postgres → Snowflake")
    page.wait_until(lambda: "14 of 14 task runs" in page.text)
    page.open(user="viewer")
    page.wait_until(lambda: "13 of 13 task runs" in page.text)
    assert "secret_dag" not in page.text


def test_logged_out_leads_to_the_login(page: Page) -> None:
    page.browser.driver.get(f"{page.server.url}/plugin/airbyte")
    WebDriverWait(page.browser.driver, SECONDS).until(lambda driver: "/af/auth/login" in driver.current_url)


def test_numbers_change_without_a_reload(page: Page) -> None:
    page.open()
    page.wait_for("Running now", "250,000")
    page.run("window.untouched = true;")
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    page.server.insert([sync(0, "deferred", 70, job={"rows": 777_000, "updated_at": moment}, run_id=RUNNING.run_id)])
    page.wait_for("Running now", "777,000")
    page.server.insert([sync(0, "success", 70, 0, job={"rows": 900_000}, run_id=RUNNING.run_id)])
    page.wait_for("Running now", "No sync is running.")
    assert page.run("return window.untouched;") is True
    page.server.insert([RUNNING])


def test_filters_are_in_the_address(page: Page) -> None:
    page.open("?range=7d")
    page.wait_for("Connections", "Stripe → BigQuery")
    Select(page.browser.find("select[name=dag]")).select_by_value("load_2")
    Select(page.browser.find("select[name=state]")).select_by_value("failed")
    page.wait_until(lambda: "Stripe → BigQuery" not in page.section("Connections"))
    query = parse_qs(urlsplit(page.browser.driver.current_url).query)
    assert query == {"range": ["7d"], "state": ["failed"], "dag": ["load_2"]}
    page.browser.driver.refresh()
    assert "Stripe → BigQuery" not in page.wait_for("Failed", "The password is wrong.")
    assert not page.browser.driver.find_elements(By.CSS_SELECTOR, "section[aria-label='Running now']")
    Select(page.browser.find("select[name=state]")).select_by_value("running")
    page.browser.wait_for("Remove a filter or choose a longer time.")


def test_a_bar_is_reached_with_the_keyboard_and_shows_its_sync(page: Page) -> None:
    page.open("?dag=load_2")
    page.wait_for("Connections", "GitHub → S3")
    bars = page.browser.driver.find_elements(By.CSS_SELECTOR, ".aby-bar")
    assert [bar.get_attribute("tabindex") for bar in bars] == ["-1", "0"]
    page.run("document.querySelector('.aby-bar[tabindex=\"0\"]').focus();")
    page.wait_until(lambda: "The password is wrong." in page.tooltip)
    page.browser.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    page.wait_until(lambda: "250,000 rows, 105 MB, 3 min 20 s" in page.tooltip)
    page.browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    page.wait_until(lambda: "/dags/load_2/runs/" in page.browser.driver.current_url)


def test_a_narrow_screen_needs_no_scrolling_to_the_side(page: Page) -> None:
    page.browser.driver.set_window_size(500, 900)
    page.open()
    page.wait_for("Failed", "The password is wrong.")
    overflow = "const each = document.querySelector('.aby'); return each.scrollWidth - each.clientWidth;"
    assert page.run(overflow) <= 0


def test_dark_mode_is_that_of_airflow(page: Page) -> None:
    brightness = """
        const style = getComputedStyle(document.querySelector(".aby-section"));
        const canvas = document.createElement("canvas").getContext("2d");
        return [style.color, style.backgroundColor].map((color) => {
          canvas.fillStyle = color;
          canvas.fillRect(0, 0, 1, 1);
          return canvas.getImageData(0, 0, 1, 1).data.slice(0, 3).reduce((one, other) => one + other);
        });
    """
    found = {}
    for theme in ("light", "dark"):
        page.open()
        page.run("localStorage.setItem('theme', args[0]);", theme)
        page.browser.driver.refresh()
        page.wait_for("Connections", "Stripe → BigQuery")
        found[theme] = page.run(brightness)
    page.run("localStorage.removeItem('theme');")
    (light_text, light), (dark_text, dark) = found["light"], found["dark"]
    assert max(light_text, dark) < 300  # of 765, that of white
    assert min(light, dark_text) > 600


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        ("new Response('{}', {status: 500})", "Airflow's API server answered with an error (500)."),
        ("new Response('{}', {status: 401})", "Your session has expired. Reload the page to log in again."),
        ("new Response('<html>', {status: 200})", "Your session has expired. Reload the page to log in again."),
        ("Promise.reject(new TypeError('failed'))", "Airflow's API server cannot be reached. The page keeps trying."),
        (
            "Promise.reject(new DOMException('slow', 'TimeoutError'))",
            "Airflow's API server did not answer within 30 seconds.",
        ),
    ],
)
def test_an_error_of_airflow_is_explained_and_the_rows_stay(page: Page, reply: str, sentence: str) -> None:
    page.open()
    page.wait_for("Connections", "Stripe → BigQuery")
    page.run(f"window.fetch = async () => {reply};")
    page.browser.button("Refresh").click()
    page.wait_until(lambda: sentence in page.alert)
    assert "Stripe → BigQuery" in page.section("Connections")


def test_a_session_that_has_ended_is_explained(page: Page) -> None:
    page.open()
    page.wait_for("Connections", "Stripe → BigQuery")
    page.browser.driver.delete_all_cookies()
    page.browser.button("Refresh").click()
    page.wait_until(lambda: "Your session has expired." in page.alert)


def test_a_missing_permission_is_named(page: Page) -> None:
    page.open(user="guest")
    page.browser.wait_for("You may not read task instances. Ask an administrator for read access to task instances")
    assert "Loading" not in page.text


def test_without_access_to_xcoms_the_syncs_are_there_and_the_permission_is_named(page: Page) -> None:
    page.open(user="reader")
    page.browser.wait_for("You may not read XComs. Ask an administrator for read access to XComs")
    assert "load_2.sync" in page.wait_for("Failed", "load_2.sync")
    page.requests()
    time.sleep(3)
    again = [url for url in page.requests() if "/xcomEntries/" in url]
    assert len(again) <= 2, "only that of the running sync, at a refresh"


def test_a_page_without_syncs_says_what_to_do(page: Page) -> None:
    page.open("?range=1h&dag=load_1")
    page.browser.wait_for("No Airbyte sync: last hour.")
    page.browser.wait_for("Remove a filter or choose a longer time.")
    page.browser.wait_for("What this page cannot know")


def test_the_tab_of_a_task_shows_its_sync(page: Page) -> None:
    """Airflow 3.4 shows the tab. An older one can show its component in the place of the page."""
    page.open()
    page.wait_for("Failed", "The password is wrong.")
    failed = next(each for each in HISTORY if each.dag_id == "load_2" and each.state == "failed")
    tab = 'globalThis["Airbyte Syncs"] = () => React.createElement(globalThis["Airbyte Sync"], args[0]);'
    page.run(
        tab,
        {"dagId": failed.dag_id, "runId": failed.run_id, "taskId": failed.task_id, "mapIndex": "{MAP_INDEX}"},
    )
    page.browser.find(f".aby a[href$='/dags/{failed.dag_id}/runs/{quote(failed.run_id)}/tasks/sync']").click()
    page.wait_until(lambda: "/plugin/" not in page.browser.driver.current_url)
    page.browser.driver.back()
    page.browser.find(".aby-facts")
    page.wait_until(lambda: "The password is wrong." in page.text)
    text = page.text
    for words in ("Failed", "GitHub → S3", "Job 2800", "250,000", "105 MB", "5 min"):
        assert words in text


# -- what the page decides -------------------------------------------------------------------------------------------


def test_the_page_lists_the_operators_that_have_the_tab(page: Page) -> None:
    page.open()
    assert page.run("return (await load('model')).OPERATORS;") == list(SYNC_OPERATORS)


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("formatRows(1234567.4)", "1,234,567"),
        ("formatRows(null)", UNKNOWN),
        ("formatBytes(0)", "0 B"),
        ("formatBytes(999)", "999 B"),
        ("formatBytes(1500)", "1.5 kB"),
        ("formatBytes(999600)", "1.0 MB"),
        ("formatBytes(104857600)", "105 MB"),
        ("formatBytes(2.5e18)", "2500 PB"),
        ("formatBytes(NaN)", UNKNOWN),
        ("formatDuration(400)", "0 s"),
        ("formatDuration(65000)", "1 min 5 s"),
        ("formatDuration(3600000)", "1 h"),
        ("formatDuration(90061000)", "1 d 1 h"),
        ("formatDuration(-5000)", "0 s"),
        ("formatInterval(3587000)", "1 h"),
        ("formatInterval(90000)", "1 min 30 s"),
        ("formatAgo(0, 500)", "now"),
        ("formatAgo(0, 330000)", "5 min ago"),
        ("formatAgo(null, 330000)", UNKNOWN),
        ("formatTime(0, 1000, 'UTC')", "00:00"),
        ("formatTime(0, 86400000, 'UTC')", "Jan 1, 00:00"),
        ("formatTime(0, 0, 'Asia/Kolkata')", "05:30"),
        ("zoneOffset(0, 'Asia/Kolkata')", 19800000),
        ("formatRate(12.6)", "13 rows/s"),
        ("formatRate(Infinity)", UNKNOWN),
    ],
)
def test_numbers_and_times_are_short(format_module: Callable[[str], Any], call: str, result: Any) -> None:
    assert format_module(call) == result


MINUTE = 60_000
SUCCESSES = json.dumps(
    [{"state": "succeeded", "start": number * MINUTE, "end": number * MINUTE} for number in (1, 2, 3)]
)


@pytest.mark.parametrize(
    ("call", "result"),
    [
        # filters
        (
            "readFilters('range=7d&state=failed&dag=a%26b')",
            {"range": "7d", "state": "failed", "dag": "a&b", "connection": ""},
        ),
        ("readFilters('range=toString&state=constructor')", {"range": "24h", "state": "", "dag": "", "connection": ""}),
        ("writeFilters({...NO_FILTERS, dag: 'a&b'}, 'range=1h&other=1')", "other=1&dag=a%26b"),
        ("taskInstancesRequest({...NO_FILTERS, dag: 'a/b'}, {limit: 1}).path", "dags/a%2Fb/dagRuns/~/taskInstances"),
        (
            """[undefined, UNFINISHED].map((states) => {
                const params = new URLSearchParams(taskInstancesRequest(NO_FILTERS, {states, now: 5000}).params);
                return [params.getAll('state').includes('queued'), params.get('start_date_lte')];
            })""",
            [[False, None], [True, "1970-01-01T00:00:03.000Z"]],
        ),
        # rows
        ("toSync({id: 1, state: 'success', start_date: null})", None),
        ("toSync({id: 1, state: 'upstream_failed', start_date: T})", None),
        ("toSync({id: 1, state: 'queued', start_date: T}).state", "running"),
        ("toSync({id: 1, state: 'up_for_retry', start_date: T}).willRetry", True),
        ("toSync({id: 1, state: 'failed', start_date: T}, {status: 'cancelled'}).state", "cancelled"),
        ("toSync({id: 1, state: 'success', start_date: T}, {status: 'running'}).state", "unfollowed"),
        ("toSync({id: 1, state: 'success', start_date: T}, 'text').rows", None),
        ("toSync({id: 1, state: 'success', start_date: T}, {job_url: 'javascript:alert(1)'}).jobUrl", None),
        # asset events
        ("eventToSync({id: 1, extra: {}})", None),
        ("eventToSync({id: 1, extra: null})", None),
        ("eventToSync({id: 1, source_task_id: 'sync', extra: {job_id: 1, connection_id: 'c'}})", None),
        (
            "eventToSync({timestamp: '1970-01-01T00:00:01Z', extra: {payload: {job_id: 1, connection_id: 'c'}}}).end",
            1000,
        ),
        (
            """mergeSyncs([{start: 0, end: 10, connectionId: 'c', jobId: null}], [
                {start: 1, end: 9, connectionId: 'c', jobId: 7},
                {start: 20, end: 30, connectionId: 'c', jobId: 8},
                {start: 20, end: 30, connectionId: 'c', jobId: 8},
            ]).map((sync) => sync.start)""",
            [20, 0],
        ),
        (
            """mergeSyncs([{start: 0, end: 10, connectionId: 'c', jobId: 2}], [
                {start: 1, end: 4, connectionId: 'c', jobId: 1},
            ]).map((sync) => sync.jobId)""",
            [1, 2],
        ),
        # tasks that do not wait
        (
            """mergeSyncs([{state: 'unfollowed', start: 0, end: 1, connectionId: 'c', jobId: 7}], [
                {start: 0, end: 9, connectionId: 'c', jobId: 7},
            ]).length""",
            2,
        ),
        (
            """markUnfollowed([
                {dagId: 'd', taskId: 't', state: 'unfollowed', jobStatus: 'running'},
                {dagId: 'd', taskId: 't', state: 'succeeded', jobStatus: null},
                {dagId: 'd', taskId: 't', state: 'succeeded', jobStatus: 'succeeded'},
                {dagId: 'd', taskId: 'u', state: 'succeeded', jobStatus: null},
            ]).map((sync) => sync.state)""",
            ["unfollowed", "unfollowed", "succeeded", "succeeded"],
        ),
        # freshness
        (f"freshness({SUCCESSES}, {4 * MINUTE})", {"last": 3 * MINUTE, "interval": MINUTE, "status": "fresh"}),
        (f"freshness({SUCCESSES}, {6 * MINUTE}).status", "late"),
        ("freshness([{state: 'succeeded', start: 1, end: 2}], 9e9).status", "unknown"),
        (
            """freshness([100, 200, 300].flatMap((end) => [
                {state: 'succeeded', start: end - 50, end}, {state: 'succeeded', start: end - 20, end: end + 3},
            ]), 310)""",
            {"last": 303, "interval": 100, "status": "fresh"},
        ),
        (
            "freshness([{state: 'succeeded', start: 1, end: 2}, {state: 'failed', start: 3, end: 4}], 5).status",
            "failing",
        ),
        # connections: a name and an id are one
        (
            """toConnections([
                {state: 'failed', start: 1, connectionId: 'c', connectionName: 'Name'},
                {state: 'succeeded', start: 0, connectionId: null, connectionName: 'Name'},
            ], 5).map((each) => each.syncs.length)""",
            [2],
        ),
        # connections of one name: the Airflow connection decides, and without it none
        (
            """toConnections([
                {key: 1, start: 1, connectionId: 'prod', connectionName: 'Name', nameScope: 'p'},
                {key: 2, start: 2, connectionId: 'test', connectionName: 'Name', nameScope: 't'},
                {key: 3, start: 3, connectionId: null, connectionName: 'Name', nameScope: 'p'},
                {key: 4, start: 4, connectionId: null, connectionName: 'Name', nameScope: 'other'},
            ], 5).map((each) => each.syncs.map((sync) => sync.key)).sort()""",
            [[1, 3], [2], [4]],
        ),
        # rate
        ("rowRate({rows: 100, start: 0, jobStart: null, updated: 10000}, [])", 10),
        ("rowRate({rows: 100, start: 0, jobStart: null, updated: null}, [])", None),
        ("rowRate({}, [{at: 0, rows: 0}, {at: 2000, rows: 50}])", 25),
        # reasons
        ("reasonText({reason: {origin: 'source', kind: null, message: 'No.'}})", "source: No."),
        ("reasonText({reason: null, state: 'cancelled'})", "The job was cancelled."),
        (
            "reasonText({reason: null, state: 'failed', jobId: null})",
            "The task failed before it had a job. The task log says why.",
        ),
        # timeline
        ("barPlace({start: 50, end: 75}, 0, 100)", {"left": 50, "width": 25}),
        ("barPlace({start: -50, end: null}, 0, 100)", {"left": 0, "width": 100}),
        ("barPlace({start: -50, end: -1}, 0, 100)", None),
        (f"axisTicks(0, {60 * MINUTE}).map((tick) => tick / {MINUTE})", [0, 10, 20, 30, 40, 50]),
        (f"axisTicks(0, {24 * 60 * MINUTE}, {330 * MINUTE})[0] / {MINUTE}", 30),
        ("['ArrowLeft', 'End', 'a'].map((key) => nextIndex(0, 3, key))", [None, 2, None]),
        (
            "connectionUrl('https://a/workspaces/w/connections/9924bcd0-99be-453d-ba47-c2c9766f7da5/timeline?jobId=1')",
            "https://a/workspaces/w/connections/9924bcd0-99be-453d-ba47-c2c9766f7da5",
        ),
        ("connectionUrl(null)", None),
    ],
)
def test_what_the_page_decides(model_module: Callable[[str], Any], call: str, result: Any) -> None:
    assert model_module(call.replace("start_date: T", "start_date: '2026-01-01T00:00:00Z'")) == result


def _caller(page: Page, module: str) -> Callable[[str], Any]:
    def call(code: str) -> Any:
        return page.run(
            f"const names = await load('{module}');"
            "return new Function(...Object.keys(names), 'return ' + args[0])(...Object.values(names));",
            code,
        )

    return call


@pytest.fixture(scope="module")
def module_page(shared_browser: Browser, server: ApiServer) -> Page:
    return Page(shared_browser, server).open()


@pytest.fixture(scope="module")
def format_module(module_page: Page) -> Callable[[str], Any]:
    return _caller(module_page, "format")


@pytest.fixture(scope="module")
def model_module(module_page: Page) -> Callable[[str], Any]:
    return _caller(module_page, "model")


# -- on real syncs, and on many --------------------------------------------------------------------------------------

WHOLE_SYNC = 90.0
"""Maximum seconds for a sync of 12 s on an Airflow that is busy, and for the page to show it."""


def test_a_real_sync_is_followed_from_its_start_to_its_end(
    browser: Browser, stack: AirflowStack, stack_airbyte: LocalAirbyte
) -> None:
    browser.driver.get(stack.url)
    browser.wait_for("Dags")  # on Airflow 3.1, the login forgets which page was asked for
    run_id = stack.trigger("example_airbyte")
    browser.driver.get(f"{stack.url}/plugin/airbyte?dag=example_airbyte&range=1h")
    page = Page(browser, stack)

    def has_job() -> bool:
        job_ids = [job.job_id for job in stack_airbyte.jobs if job.connection_id == STRIPE_TO_BIGQUERY]
        return bool(job_ids) and f"Job {max(job_ids)}" in page.section("Running now")

    def has_ended() -> bool:
        return "No sync is running." in page.section("Running now")

    page.wait_until(has_job, WHOLE_SYNC)
    page.wait_until(has_ended, WHOLE_SYNC)
    assert stack.states("example_airbyte", run_id)["sync"] == "success"


def test_five_thousand_syncs_are_shown_with_three_requests(
    page: Page, record_property: Callable[[str, object], None]
) -> None:
    page.server.insert(large_history())
    page.open("?range=30d")
    page.wait_until(lambda: "The newest 100 of 5014 task runs." in page.text)
    requests, seconds = page.first_view()
    assert requests <= 3
    record_property("seconds_to_the_first_view", seconds)
    page.browser.button("Load older").click()
    page.wait_until(lambda: "The newest 200 of 5014 task runs." in page.text)
    page.browser.button("Next").click()
    page.wait_until(lambda: "26\u201350 of" in page.text)
