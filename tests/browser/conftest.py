"""One Chromium for all browser tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .webdriver import Browser, programs


@pytest.fixture(scope="session")
def chromium(tmp_path_factory) -> Iterator[Browser]:
    found = programs()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have chromium and chromedriver (apt-get install chromium-driver)")
        pytest.skip("chromium or chromedriver is not installed")
    started = Browser(*found, tmp_path_factory.mktemp("profile"))
    yield started
    started.close()


@pytest.fixture
def browser(chromium) -> Browser:
    """With no page of another test, which may still ask for a server that is gone."""
    chromium.open("about:blank")
    chromium.complaints()
    return chromium
