"""How smooth the page of Airbyte syncs is in a browser that has loaded a large history. It needs Chromium."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.browser.airbyte_page import Page, large_history
from tests.browser.driver import open_browser
from tests.helpers.api_server import ApiServer

WAIT = 600.0
OBSERVE = """
window.tasks = [];
new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((entry) => entry.duration)))
  .observe({ type: "longtask", buffered: true });
"""
LOAD_ALL = """
const button = () => [...document.querySelectorAll(".aby-pager button")].find((each) => /^Load/.test(each.innerText));
while (button()) {
  button().click();
  await new Promise((done) => setTimeout(done, 20));
}
"""
SCROLL = """
const page = document.querySelector(".aby");
const frame = () => new Promise((done) => requestAnimationFrame(done));
for (page.scrollTop = 0; page.scrollTop + page.clientHeight < page.scrollHeight - 1; page.scrollTop += 60) {
  await frame();
}
"""
TAKE_LONGEST = """
await new Promise((done) => setTimeout(done, 200));
return Math.max(0, ...window.tasks.splice(0)) / 1000;
"""


@dataclass(frozen=True)
class PageStats:
    """The page with ``count`` syncs. Times are in seconds. A task of the browser below 50 ms counts as 0."""

    count: int
    requests: int
    first_view: float
    longest_while_loading: float
    longest_while_scrolling: float


def measure() -> PageStats:
    history = list(large_history())
    with tempfile.TemporaryDirectory(prefix="airbyte-bench-") as folder:
        dags = Path(folder) / "dags"
        dags.mkdir()
        server = ApiServer(Path(folder) / "airflow", dags, {})
        with server, open_browser(Path(folder) / "browser") as browser:
            server.insert(history)
            page = Page(browser, server).open("?range=30d")
            page.wait_until(lambda: "The newest 100 of" in page.text, WAIT)
            requests, first_view = page.first_view()
            browser.driver.set_script_timeout(WAIT)
            page.run(OBSERVE)
            page.run(LOAD_ALL)
            while_loading = page.run(TAKE_LONGEST)
            page.run(SCROLL)
            return PageStats(len(history), requests, first_view, while_loading, page.run(TAKE_LONGEST))


if __name__ == "__main__":
    print(measure())
