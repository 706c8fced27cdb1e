"""The connection's form and its Test button, in a real browser, on a running Airflow."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import presence_of_element_located, text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait

from airflow_provider_airbyte_api.connection_form import AUTH_TYPES, CONN_FIELDS
from airflow_provider_airbyte_api.testing import LocalAirbyte
from dev.stack import AirflowStack
from tests.conftest import REPOSITORY

SECONDS = 30.0
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1200,860"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="No Chromium with its driver here: on Debian and Ubuntu, apt-get install chromium chromium-driver",
)


class Browser:
    """A person before the screen."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def find(self, selector: str, by: str = By.CSS_SELECTOR) -> WebElement:
        return WebDriverWait(self.driver, SECONDS).until(presence_of_element_located((by, selector)))

    def button(self, words: str) -> WebElement:
        return self.find(f"//button[contains(., '{words}') or @aria-label='{words}']", By.XPATH)

    def field(self, label: str) -> WebElement:
        """Return what one types into beside ``label``."""
        return self.find(f"//*[normalize-space(text())='{label}']/following::*[self::input][1]", By.XPATH)

    def wait_for(self, words: str) -> str:
        """Return the page's text once it has ``words`` in it."""
        WebDriverWait(self.driver, SECONDS).until(text_to_be_present_in_element((By.TAG_NAME, "body"), words))
        return self.find("body").text

    def picture(self, name: str) -> None:
        """Take the docs' screenshot anew, if asked to."""
        if os.environ.get("SCREENSHOTS"):
            self.driver.save_screenshot(str(REPOSITORY / "docs" / "images" / name))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield Browser(driver)
    driver.quit()


def fill_in(browser: Browser, stack: AirflowStack, conn_id: str, airbyte: LocalAirbyte, secret: str) -> None:
    browser.driver.get(f"{stack.url}/connections")
    browser.button("Add Connection").click()
    browser.find("input[name=connection_id]").send_keys(conn_id)
    kind = browser.find("[role=dialog] input[role=combobox]")
    kind.send_keys("Airbyte API")
    browser.find("//*[@role='option' and contains(., 'Airbyte API')]", By.XPATH)
    kind.send_keys(Keys.ENTER)
    browser.field("Airbyte URL").send_keys(airbyte.url)
    browser.field("Client ID").send_keys(airbyte.client_id)
    browser.field("Client secret").send_keys(secret)
    browser.field("Port").send_keys(airbyte.url.rpartition(":")[2])


def test_a_connection_is_filled_in_saved_and_tested(
    browser: Browser, stack: AirflowStack, stack_airbyte: LocalAirbyte
) -> None:
    fill_in(browser, stack, "by_hand", stack_airbyte, stack_airbyte.client_secret)
    assert browser.field("Client secret").get_attribute("type") == "password"
    browser.picture("connection-form.png")
    browser.button("Extra Fields").click()
    for extra in CONN_FIELDS.values():
        browser.find(f"//*[normalize-space(text())='{extra['label']}']", By.XPATH)
    for name in ("api_token", "secret_headers", "proxy"):
        assert browser.find(f"input[name=element_{name}]").get_attribute("type") == "password"
    browser.button("Save").click()
    browser.button("Test Connection").click()
    text = browser.wait_for("Connected to Airbyte 2.1.0 (community)")
    browser.picture("connection-test.png")
    assert "The application's user sees 1 workspace: Local." in text
    assert stack_airbyte.client_secret not in text
    saved = stack.get("/connections/by_hand")
    assert json.loads(saved["extra"]).keys() == CONN_FIELDS.keys()
    stack.delete("/connections/by_hand")


def test_a_wrong_secret_is_called_that(browser: Browser, stack: AirflowStack, stack_airbyte: LocalAirbyte) -> None:
    fill_in(browser, stack, "mistyped", stack_airbyte, "mistyped-secret")
    browser.button("Save").click()
    browser.button("Test Connection").click()
    text = browser.wait_for("The client id or the client secret is wrong. Copy both again")
    assert "mistyped-secret" not in text
    stack.delete("/connections/mistyped")


def test_authentication_offers_its_ways_and_no_null(
    browser: Browser, stack: AirflowStack, stack_airbyte: LocalAirbyte
) -> None:
    fill_in(browser, stack, "choosing", stack_airbyte, stack_airbyte.client_secret)
    browser.button("Extra Fields").click()
    choice = browser.find("#element_auth_type")
    assert "null" not in choice.text
    browser.find("#element_auth_type input").send_keys(Keys.ARROW_DOWN)
    browser.find("[role=option]")
    options = browser.driver.find_elements(By.CSS_SELECTOR, "[role=option]")
    assert [option.text for option in options] == list(AUTH_TYPES)


def test_the_page_of_providers_says_what_this_one_does(browser: Browser, stack: AirflowStack) -> None:
    browser.driver.get(f"{stack.url}/providers?limit=100")
    text = browser.wait_for("airflow-provider-airbyte-api")
    assert "Run Airbyte syncs through Airbyte's public API" in text
