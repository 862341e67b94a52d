"""On which line of a TOML file each key stands; `tomllib` keeps no positions.

Only for text that `tomllib` has taken: this scanner finds keys, it does not judge them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Final, TypeAlias

__all__ = ["KeyPath", "key_lines", "line_of"]

KeyPath: TypeAlias = tuple[str | int, ...]

_HEADER: Final = re.compile(r"\s*(\[\[?)(.+?)\]\]?\s*(#.*)?$")
_PART: Final = re.compile(r"""\s*([A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')\s*(\.)?""")
_TOKEN: Final = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\#[^\n]*|[\[\]{}\n]''',
    re.DOTALL,
)


def _parts(text: str) -> tuple[list[str], int]:
    """Parts of a dotted key at the start of `text`, and where it ends."""
    parts: list[str] = []
    end = 0
    while match := _PART.match(text, end):
        end = match.end()
        part = match[1]
        parts.append(tomllib.loads(f"x = {part}")["x"] if part[0] in "\"'" else part)
        if match[2] is None:
            break
    return parts, end


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Return (line, text) of each statement: a header, or a key with all lines of its value."""
    start, depth = 0, 0
    header = text.lstrip().startswith("[")
    for token in _TOKEN.finditer(text + "\n"):
        mark = token[0]
        if mark in "[{" and not header:
            depth += 1
        elif mark in "]}" and not header:
            depth -= 1
        elif mark == "\n" and depth == 0:
            yield text.count("\n", 0, start) + 1, text[start : token.start()]
            start = token.end()
            header = text[start:].lstrip(" \t").startswith("[")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Path to 1-based line of every table and key; members of an array of tables by index."""
    lines: dict[KeyPath, int] = {(): 1}
    tables: dict[KeyPath, int] = {}
    here: KeyPath = ()

    def resolved(parts: list[str]) -> KeyPath:
        path: KeyPath = ()
        for part in parts:
            path = (*path, part)
            if path in tables:
                path = (*path, tables[path])
        return path

    for line, statement in _statements(text):
        header = _HEADER.match(statement)
        if header and statement.lstrip().startswith("["):
            parts = _parts(header[2])[0]
            if header[1] == "[[":
                parent = (*resolved(parts[:-1]), parts[-1])
                tables[parent] = tables.get(parent, -1) + 1
            here = resolved(parts)
            lines.setdefault(here, line)
        elif statement.strip() and not statement.lstrip().startswith("#"):
            path = here
            for part in _parts(statement)[0]:
                path = (*path, part)
                lines.setdefault(path, line)
    return lines


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """Line of `path`, or of the nearest key or table around it."""
    while path not in lines:
        path = path[:-1]
    return lines[path]
