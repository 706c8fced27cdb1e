"""What the page of Airbyte syncs requests when, in a real browser, with a stub for Airflow's answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.airbyte_page import Page
from tests.browser.driver import needs_browser, open_browser
from tests.helpers.api_server import ApiServer
from tests.versions import since

pytestmark = [
    needs_browser,
    pytest.mark.running_airflow,
    since("3.1", "its plugins cannot add a page to the UI"),
]

STUB = """
const { SyncStore } = await load("store");
const rows = [];
let answerDetail = () => [200, null];
let detailRequests = 0;
const realFetch = window.fetch;
window.fetch = async (address, options) => {
  const url = new URL(address);
  if (!url.pathname.includes("/dags/stub/")) return realFetch(address, options);
  const get = (name) => Number(url.searchParams.get(name));
  if (url.pathname.includes("/xcomEntries/")) {
    detailRequests += 1;
    const [status, value] = answerDetail();
    return new Response(JSON.stringify({ value }), { status });
  }
  if (!url.pathname.endsWith("/taskInstances")) {
    return new Response(JSON.stringify(rows.find((row) => url.pathname.includes(`/${row.dag_run_id}/`))));
  }
  const found = rows.filter((row) => url.searchParams.getAll("state").includes(row.state));
  found.sort((one, other) => Date.parse(other.start_date) - Date.parse(one.start_date));
  const shown = found.slice(get("offset"), get("offset") + get("limit"));
  return new Response(JSON.stringify({ task_instances: shown, total_entries: found.length }));
};
const time = (age) => new Date(Date.now() - age * 1000).toISOString();
const addRow = (age, state = "success") => rows.push({
  id: `id${rows.length}`, dag_id: "stub", dag_run_id: `run${rows.length}`, task_id: "sync", map_index: -1,
  try_number: 1, state, start_date: time(age + 30), end_date: state === "success" ? time(age) : null,
  rendered_fields: { connection_id: "c" },
});
const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const store = new SyncStore();
const start = async () => {
  store.start({ range: "24h", state: "", dag: "stub", connection: "" });
  while (!store.current.hasLoaded) await wait(0.02);
};
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    home: Path = tmp_path_factory.mktemp("api-server")
    (home / "dags").mkdir()
    server = ApiServer(home, home / "dags", {})
    with server, open_browser(home / "browser") as browser:
        yield Page(browser, server)


def run(page: Page, script: str) -> Any:
    """Return what a script returns, with a store whose requests the stub answers."""
    page.open()
    return page.run(STUB + script)


def test_rows_that_were_missed_in_a_hidden_tab_are_loaded_by_load_older(page: Page) -> None:
    result = run(
        page,
        """
        for (let number = 0; number < 250; number += 1) addRow(1000 + 60 * number);
        await start();
        await store.loadOlder();
        await store.loadOlder();
        const before = store.current;
        for (let number = 0; number < 150; number += 1) addRow(number);
        await store.refresh({ full: true });
        const after = store.current;
        for (let page = 0; page < 3; page += 1) await store.loadOlder();
        return [before, after, store.current].map(({ loaded, total, syncs }) => [loaded, total, syncs.length]);
        """,
    )
    assert result == [[250, 250, 250], [100, 400, 100], [400, 400, 400]]


def test_details_that_airflow_refuses_are_requested_again_only_with_the_next_refresh(page: Page) -> None:
    result = run(
        page,
        """
        for (let number = 0; number < 10; number += 1) addRow(60 * number);
        answerDetail = () => [500, null];
        await start();
        const ask = () => store.wantDetails(store.current.syncs);
        store.subscribe(ask); // as the page does after each change
        ask();
        await wait(1.5);
        const first = detailRequests;
        await store.refresh({ full: true });
        await wait(1);
        return [first, detailRequests];
        """,
    )
    assert result == [10, 20]


def test_a_sync_that_has_finished_does_not_show_the_status_from_while_it_ran(page: Page) -> None:
    result = run(
        page,
        """
        addRow(60, "deferred");
        answerDetail = () => [200, { job_id: 1, status: "running", rows: 5 }];
        await start();
        store.wantDetails(store.current.syncs);
        await wait(0.5);
        const running = store.current.syncs[0];
        Object.assign(rows[0], { state: "success", end_date: time(0) });
        await store.refresh();
        const finished = store.current.syncs[0];
        answerDetail = () => [200, { job_id: 1, status: "succeeded", rows: 900 }];
        store.wantDetails(store.current.syncs);
        await wait(0.5);
        return [running, finished, store.current.syncs[0]].map(({ state, rows }) => [state, rows]);
        """,
    )
    assert result == [["running", 5], ["succeeded", None], ["succeeded", 900]]


def test_syncs_before_the_time_shown_are_forgotten(page: Page) -> None:
    result = run(
        page,
        """
        addRow(60);
        addRow(3600);
        await start();
        rows[1].end_date = time(25 * 3600);
        store.rows.get("id1").end_date = rows[1].end_date;
        rows.pop();
        await store.refresh({ full: true });
        return [store.current.syncs.length, store.rows.size, store.syncs.size];
        """,
    )
    assert result == [1, 1, 1]


def test_an_outage_leaves_the_time_of_the_last_update(page: Page) -> None:
    result = run(
        page,
        """
        addRow(60);
        await start();
        const { now } = store.current;
        await wait(0.1);
        window.fetch = async () => new Response("no", { status: 500 });
        await store.refresh({ full: true });
        return [store.current.now === now, store.current.error.kind];
        """,
    )
    assert result == [True, "server"]
