"""Reading a pipeline file, with every mistake in it reported at once."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sendtide.events.errors import ConfigurationError
from sendtide.pipeline.lines import KeyPath, key_lines, line_of
from sendtide.pipeline.model import PATTERN_MEANINGS, Model, Pipeline

__all__ = ["load_pipeline"]


def load_pipeline(path: Path | str) -> Pipeline:
    """Return the pipeline a file declares.

    Raises:
        ConfigurationError: unreadable, not TOML, or with mistakes; lists them all as
            `file:line: key: what is wrong and what is allowed`.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read ({error}); give the path of a pipeline file in UTF-8"
        raise ConfigurationError(msg) from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = _syntax_error_line(error, text)
        msg = f"{path}:{line}: not TOML: {error}"
        raise ConfigurationError(msg) from error
    try:
        return Pipeline.model_validate(content)
    except ValidationError as error:
        mistakes = _mistakes(path, text, content, error)
    count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
    msg = "\n".join([f"{path}: {count}", *mistakes])
    raise ConfigurationError(msg)


def _syntax_error_line(error: tomllib.TOMLDecodeError, text: str) -> int:
    """Line of a syntax error; of one at the end `tomllib` says only that."""
    words = str(error).replace(",", " ").split()
    if "line" in words:
        return int(words[words.index("line") + 1])
    return text.rstrip().count("\n") + 1


def _mistakes(path: Path, text: str, content: Any, error: ValidationError) -> list[str]:
    """Messages in the order of lines; one for each place."""
    lines = key_lines(text)
    wrong: dict[KeyPath, list[str]] = {}
    for detail in error.errors(include_url=False):
        place = _place_in_file(detail["loc"], content)
        wrong.setdefault(place, []).append(_what_is_wrong(detail, place, content))
    found = []
    for place, reasons in wrong.items():
        # A list that is wrong inside also fails as what else could stand there; say where it is.
        if any(other[: len(place)] == place and len(other) > len(place) for other in wrong) and (
            isinstance(_value_at(place, content), list)
        ):
            continue
        line = line_of(lines, place)
        found.append(
            (line, f"{path}:{line}: {_spelled(place)}{' or '.join(dict.fromkeys(reasons))}")
        )
    return [message for _, message in sorted(found)]


def _child(content: Any, step: str | int) -> Any:
    """What stands at `step` of a table or list, None if nothing does."""
    if isinstance(content, dict):
        return content.get(step)
    if isinstance(content, list) and isinstance(step, int) and step < len(content):
        return content[step]
    return None


def _value_at(place: KeyPath, content: Any) -> Any:
    for step in place:
        content = _child(content, step)
    return content


def _place_in_file(loc: KeyPath, content: Any) -> KeyPath:
    """The error's path without the marks pydantic adds for members of a union."""
    place: list[str | int] = []
    here = content
    for step in loc:
        inside = _child(here, step)
        if inside is not None:
            here = inside
        elif step != loc[-1] or not isinstance(here, dict) or _is_union_mark(step):
            continue
        place.append(step)
    if len(place) == 2 and isinstance(here, dict):
        kind = here.get("kind", "river")
        if kind not in list(_kinds()):
            place.append("kind")
    return tuple(place)


def _is_union_mark(step: str | int) -> bool:
    return step in _kinds() or (isinstance(step, str) and "[" in step)


def _spelled(place: KeyPath) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return f"{text.lstrip('.')}: " if place else ""


def _kinds() -> dict[str, type[BaseModel]]:
    """Kind to class of the models a file may declare."""
    union = get_args(Model)[0]
    return {
        kind: cls
        for cls in get_args(union)
        for kind in get_args(cls.model_fields["kind"].annotation)
    }


def _section_at(place: KeyPath, content: Any) -> type[BaseModel]:
    """Model of the table at `place`."""
    section: type[BaseModel] = Pipeline
    for step in place:
        if step == "models":
            content = content["models"]
        elif isinstance(step, int):
            section = _kinds()[content[step]["kind"]]
        else:
            annotation = section.model_fields[str(step)].annotation
            assert isinstance(annotation, type)
            section = annotation
    return section


def _keys_at(place: KeyPath, content: Any) -> list[str]:
    """Keys allowed in the table at `place`."""
    fields = _section_at(place, content).model_fields
    return [field.alias or name for name, field in fields.items()]


_BOUNDS: Final = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def _range_of(place: KeyPath, content: Any) -> str:
    """Both bounds of the number at `place`, if it has any."""
    if not place or isinstance(place[-1], int) or "params" in place:
        return ""
    for field in _section_at(place[:-1], content).model_fields.values():
        if field.alias == place[-1]:
            bounds = [
                f"{sign} {getattr(mark, name)}"
                for mark in field.metadata
                for name, sign in _BOUNDS.items()
                if hasattr(mark, name)
            ]
            return f"; allowed: {' and '.join(bounds)}" if bounds else ""
    return ""


def _what_is_wrong(detail: ErrorDetails, place: KeyPath, content: Any) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            allowed = _keys_at(place[:-1], content)
            near = get_close_matches(str(place[-1]), allowed, n=1)
            hint = f'did you mean "{near[0]}"? ' if near else ""
            return f"unknown key; {hint}allowed here: {', '.join(allowed)}"
        case "missing":
            return "is missing; it has no default"
        case "union_tag_not_found":
            return f"has no kind; allowed: {context['discriminator']} = one of {_quoted(_kinds())}"
        case "union_tag_invalid":
            near = get_close_matches(str(context["tag"]), _kinds(), n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            return f"unknown kind {context['tag']!r}; allowed: {_quoted(_kinds())}{hint}"
        case "value_error":
            return str(context["error"])
        case "string_pattern_mismatch":
            return f"{detail['input']!r} is not {PATTERN_MEANINGS[context['pattern']]}"
        case "model_type" | "model_attributes_type":
            return "is not a table; write it as [name] with keys below"
        case _:
            return f"{detail['msg']}{_range_of(place, content)}"


def _quoted(words: Any) -> str:
    return ", ".join(f'"{word}"' for word in words)
