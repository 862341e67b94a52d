"""Pipeline files made for one run, with topics of its own that nobody else reads."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from sendtide.events.errors import ConfigurationError
from sendtide.pipeline import Pipeline, load_pipeline

__all__ = ["NEWSLETTERS", "own_pipeline"]

NEWSLETTERS: Final = Path(__file__).with_name("newsletters.toml")

_TOPICS: Final = """
[topics]
prefix = "{prefix}"
partitions = {partitions}
retention = "3650d"
"""


def own_pipeline(
    folder: Path, purpose: str, *, partitions: int, base: Path | None = None, sections: str = ""
) -> tuple[Path, Pipeline]:
    """Write and load a pipeline file whose topics begin with `<purpose>-<time>.`.

    base: a file without `[topics]` to begin with. sections: more of the file, as it stands.

    Raises:
        ConfigurationError: the folder cannot be written to.
    """
    prefix = f"{purpose}-{time.time_ns() // 1_000_000}."
    text = base.read_text("utf-8") if base else f'name = "{purpose}"\n'
    path = folder / f"{prefix}toml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(
            text + _TOPICS.format(prefix=prefix, partitions=partitions) + sections, "utf-8"
        )
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror}); give another folder with --data"
        raise ConfigurationError(msg) from error
    return path, load_pipeline(path)
