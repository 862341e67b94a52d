"""The outcome of a run, for machines and as the table that is kept beside this file, results.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sendtide.chaos.matrix import Result

__all__ = ["as_json", "as_markdown"]

_COMMAND: Final = (
    "sendtide chaos --set {which} --seed {seed} --markdown src/sendtide/chaos/results.md"
)
_HEAD: Final = "| fault | fired | in flight | lost | double | order | digest | recovered | ok |"
_LINE: Final = "|---|---|---|---|---|---|---|---|---|"


def as_json(result: Result) -> dict[str, Any]:
    """The row for machines."""
    return asdict(result)


def as_markdown(
    rows: Sequence[Mapping[str, Any]],
    mutations: Sequence[Mapping[str, Any]],
    seed: int,
    versions: Mapping[str, str],
    which: str = "long",
) -> str:
    """Rows and mutations as `as_json` gives them; a row that is not ok with what was found.

    which: the set they are of.
    """
    stack = ", ".join(f"{name} {version}" for name, version in versions.items())
    command = _COMMAND.format(which=which, seed=seed)
    lines = ["# Results of `sendtide chaos`", "", f"    {command}", "", f"On {stack}."]
    lines += ["", _HEAD, _LINE]
    lines += [_line(row) for row in rows]
    lines += ["", "Promises broken on purpose, which the judge must notice:", ""]
    lines += [f"- {m['mutation']}: {'caught' if m['caught'] else 'MISSED'}" for m in mutations]
    failed = [row for row in rows if not row["ok"]]
    if failed:
        lines += ["", "What was found in rows that are not ok:", ""]
        lines += [f"- {row['fault']}: {_finding(row)}" for row in failed]
    return "\n".join(lines) + "\n"


def _line(row: Mapping[str, Any]) -> str:
    seconds = row["recovered_s"]
    cells = [row["fault"], _yes(row["fired"]), _yes(row["in_flight"]), row["lost"], row["double"]]
    cells += [_yes(row["order_ok"]), _yes(row["digest_ok"])]
    cells += ["-" if seconds is None else f"{seconds:.1f} s", "yes" if row["ok"] else "**no**"]
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _finding(row: Mapping[str, Any]) -> str:
    """Without the logs that follow the first line of some."""
    return "; ".join(finding.partition("\n")[0][:200] for finding in row["findings"][:3])
