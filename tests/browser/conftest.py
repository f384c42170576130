"""One browser for each file of tests, one stage for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from browser.stage import Stage
from tools.browser import ARGUMENTS, executable


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def stage(browser: Browser, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(browser, tmp_path)
    yield stage
    stage.close()
    assert stage.problems == []
