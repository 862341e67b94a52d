"""One Chromium for all browser tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from .webdriver import Browser, programs


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Browser]:
    found = programs()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have chromium and chromedriver (apt-get install chromium-driver)")
        pytest.skip("chromium or chromedriver is not installed")
    started = Browser(*found, tmp_path_factory.mktemp("profile"))
    yield started
    started.close()
