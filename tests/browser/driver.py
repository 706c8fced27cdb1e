"""A real browser, as the tests use it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import presence_of_element_located, text_to_be_present_in_element
from selenium.webdriver.support.wait import WebDriverWait

SECONDS = 30.0
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1200,860"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

needs_browser = pytest.mark.skipif(
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


@contextmanager
def open_browser(profile: Path) -> Iterator[Browser]:
    """Open a browser with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()
