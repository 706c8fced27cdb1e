"""The connection's form and its Test button, in a real browser, on a running Airflow."""

from __future__ import annotations

import json

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from airflow_provider_airbyte_api.connection_form import AUTH_TYPES, CONN_FIELDS
from airflow_provider_airbyte_api.testing import LocalAirbyte
from dev.stack import AirflowStack
from tests.browser.driver import Browser, needs_browser
from tests.versions import since

pytestmark = [needs_browser, since("3.3", "its form shows the secrets of extra fields")]


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
    browser.button("Extra Fields").click()
    for extra in CONN_FIELDS.values():
        browser.find(f"//*[normalize-space(text())='{extra['label']}']", By.XPATH)
    for name in ("api_token", "secret_headers", "proxy"):
        assert browser.find(f"input[name=element_{name}]").get_attribute("type") == "password"
    browser.button("Save").click()
    browser.button("Test Connection").click()
    text = browser.wait_for("Connected to Airbyte 2.1.0 (community)")
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
