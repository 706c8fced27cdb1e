"""The site that `make docs` has built."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.conftest import REPOSITORY

SITE = REPOSITORY / "build" / "docs"
PAGES = sorted(path.stem for path in (REPOSITORY / "docs").glob("*.md"))
PHONE = 375
"""Width of a phone's screen in CSS pixels."""


def found_by(word: str) -> set[str]:
    """Return the pages that the search finds for a word's stem."""
    text = (SITE / "searchindex.js").read_text()
    index = json.loads(re.search(r"^Search\.setIndex\((.*)\)$", text, re.DOTALL)[1])  # type: ignore[index]
    found = index["terms"].get(word, []), index["titleterms"].get(word, [])
    numbers = {number for each in found for number in (each if isinstance(each, list) else [each])}
    return {index["docnames"][number] for number in numbers}


@pytest.mark.parametrize(
    ("word", "page"),
    [
        ("alert", "alerting"),
        ("retri", "sync"),
        ("duplic", "faq"),
        ("stuck", "faq"),
        ("dbt", "dbt"),
        ("mwaa", "platforms"),
        ("deprec", "upgrading"),
    ],
)
def test_the_search_finds_a_page(word: str, page: str) -> None:
    assert page in found_by(word)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_ends_with_a_footer(page: str) -> None:
    footer = (SITE / f"{page}.html").read_text().split("<footer>")[1]
    assert "the authors of airflow-provider-airbyte-api" in footer


def test_a_block_of_code_has_a_copy_button() -> None:
    text = (SITE / "index.html").read_text()
    assert "copybutton.js" in text
    assert (SITE / "_static" / "copybutton.js").exists()


@pytest.fixture(scope="module")
def phone() -> Iterator[webdriver.Chrome]:
    browser, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("Install chromium and chromedriver to see the pages on a phone.")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_experimental_option("mobileEmulation", {"deviceMetrics": {"width": PHONE, "height": 700}})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as driven:
        yield driven


@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_a_phone(phone: webdriver.Chrome, page: str) -> None:
    phone.get((SITE / f"{page}.html").as_uri())
    assert phone.execute_script("return document.documentElement.scrollWidth") <= PHONE
