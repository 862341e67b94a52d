"""Real servers for tests: what may be missing at home and must be there in CI."""

from __future__ import annotations

import os
import shutil

import docker
import pytest
from docker.errors import DockerException


def require(*programs: str, package: str) -> None:
    """Skip the test if a program is not on the PATH; in CI, fail: there nothing may be left out.

    package: Debian's name of what brings it.
    """
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    sentence = f"{', '.join(missing)} not on the PATH (apt-get install {package})"
    if os.environ.get("CI"):
        pytest.fail(f"CI must have it: {sentence}")
    pytest.skip(sentence)


def require_docker() -> None:
    """Skip the test unless a Docker engine answers; no machine of ours has to have one."""
    try:
        docker.from_env().ping()
    except DockerException as error:
        pytest.skip(f"no Docker engine answers: {error}")
