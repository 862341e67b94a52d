"""The state of any River model as plain JSON values: nothing in it can run on reading but River.

An object says itself what it is made of (`__reduce_ex__`, as for `copy.deepcopy`); here that is
written as nested lists, and read back only with names from a short list: River's classes, a few
containers, numpy's and Python's random generators. Unlike pickle, a stranger's file can therefore
name nothing else. An object that occurs twice is written once, so shared parts stay shared.

A value is None, a bool, an int, a float, a string, or a list that begins with its kind::

    ["list" | "tuple" | "set", values]   ["dict", [key, value, ...]]   ["same", number]
    ["array", dtype, shape, values]      ["scalar", dtype, value]      ["bytes", hex]
    ["name", module, name]               ["made", function, arguments, state, items, pairs]
    ["method", object, name]             ["draws"]

The last one is a `random.Random` that its owner was given no seed for: where it stands is of no
meaning, and 625 numbers for each Gaussian of each leaf would be most of a tree.
"""

from __future__ import annotations

from importlib import import_module
from itertools import chain
from random import Random
from types import MethodType, ModuleType
from typing import Any, Final

import numpy as np

from sendtide.events.errors import ConfigurationError, CorruptData

__all__ = ["plain", "revived"]

_ALLOWED: Final = {
    "builtins": {"bool", "complex", "dict", "float", "frozenset", "int", "list", "object", "set"}
    | {"slice", "str", "tuple"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "copy": {"deepcopy"},
    "copyreg": {"__newobj__", "_reconstructor"},
    "datetime": {"date", "datetime", "timedelta"},
    "functools": {"partial"},
    "numpy.random._pickle": {"__generator_ctor", "__randomstate_ctor", "__bit_generator_ctor"},
    "numpy.random._mt19937": {"MT19937"},
    "numpy.random._pcg64": {"PCG64"},
    "random": {"Random"},
}
_SCALARS: Final = (bool, int, float, str)
_CONTAINERS: Final[dict[type, str]] = {list: "list", tuple: "tuple", set: "set"}
_PROTOCOL: Final = 2


def plain(model: Any) -> Any:
    """`model` as values that JSON can hold.

    Raises:
        ConfigurationError: it holds something that cannot be written, e.g. a lambda.
    """
    return _Writer().value(model)


def revived(value: Any) -> Any:
    """The object that `plain` was given.

    Raises:
        CorruptData: not of its making.
    """
    try:
        return _Reader().value(value)
    except CorruptData:
        raise
    except Exception as error:
        msg = f"this is no model state: {type(error).__name__}: {error}"
        raise CorruptData(msg) from error


def _is_allowed(module: str, name: str) -> bool:
    return module.partition(".")[0] == "river" or name in _ALLOWED.get(module, ())


class _Draws:
    """Stands for a generator without a seed."""


class _Writer:
    """Writes one object and all it refers to."""

    def __init__(self) -> None:
        self._number_of: dict[int, int] = {}
        self._kept: list[Any] = []  # an id is only unique while its object lives

    def value(self, item: Any) -> Any:
        """`item` as plain values."""
        kind = type(item)
        if item is None or kind in _SCALARS:
            return item
        if id(item) in self._number_of:
            return ["same", self._number_of[id(item)]]
        if kind is _Draws:
            return ["draws"]
        if kind is tuple:  # not numbered: it cannot hold itself, and is made anew where it recurs
            return ["tuple", [self.value(member) for member in item]]
        if kind is bytes:
            return ["bytes", item.hex()]
        if isinstance(item, np.generic):
            return ["scalar", item.dtype.str, item.item()]
        if kind in _CONTAINERS:
            self._number(item)
            return [_CONTAINERS[kind], [self.value(member) for member in item]]
        if kind is dict:
            self._number(item)
            return ["dict", [self.value(part) for part in chain.from_iterable(item.items())]]
        if kind is np.ndarray and item.dtype != object:
            self._number(item)
            return ["array", item.dtype.str, list(item.shape), item.ravel().tolist()]
        if isinstance(item, MethodType) and not isinstance(item.__self__, type):
            return ["method", self.value(item.__self__), item.__name__]
        if isinstance(item, type) or (hasattr(item, "__qualname__") and callable(item)):
            return self._name(item)
        return self._made(item)

    def _number(self, item: Any) -> None:
        self._number_of[id(item)] = len(self._number_of)
        self._kept.append(item)

    def _name(self, item: Any) -> Any:
        module, name = str(item.__module__), str(item.__qualname__)
        if not _is_allowed(module, name) or _found(module, name) is not item:
            msg = f"holds {module}.{name}, which a snapshot cannot keep"
            raise ConfigurationError(msg)
        return ["name", module, name]

    def _made(self, item: Any) -> Any:
        reduced = item.__reduce_ex__(_PROTOCOL)
        if isinstance(reduced, str):
            msg = f"holds {reduced}, a name instead of a value, which a snapshot cannot keep"
            raise ConfigurationError(msg)
        function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        head = ["made", self._name(function), [self.value(part) for part in arguments]]
        self._number(item)
        if isinstance(state, dict) and state.get("seed", ...) is None:
            state = {k: _Draws() if type(v) is Random else v for k, v in state.items()}
        members = None if items is None else [self.value(member) for member in items]
        mapped = None if pairs is None else [self.value(p) for p in chain.from_iterable(pairs)]
        return [*head, self.value(state), members, mapped]


class _Reader:
    """Reads what a `_Writer` wrote, numbering objects in the same order."""

    def __init__(self) -> None:
        self._objects: list[Any] = []

    def value(self, item: Any) -> Any:
        """The object `item` stands for."""
        if not isinstance(item, list):
            return item
        kind, *parts = item
        match kind:
            case "same":
                return self._objects[parts[0]]
            case "tuple":
                return tuple(self.value(member) for member in parts[0])
            case "bytes":
                return bytes.fromhex(parts[0])
            case "scalar":
                return np.dtype(parts[0]).type(parts[1])
            case "array":
                dtype, shape, values = parts
                return self._numbered(np.array(values, np.dtype(dtype)).reshape(shape))
            case "list":
                made = self._numbered([])
                made.extend(self.value(member) for member in parts[0])
                return made
            case "set":
                members = self._numbered(set())
                members.update(self.value(member) for member in parts[0])
                return members
            case "dict":
                return self._fill(self._numbered({}), parts[0])
            case "name":
                return _looked_up(*parts)
            case "draws":
                return Random(0)  # noqa: S311 - models draw samples, not secrets
            case "method":
                return _method(self.value(parts[0]), parts[1])
            case "made":
                return self._made(*parts)
        msg = f"model state holds {kind!r}, which this build does not know"
        raise CorruptData(msg)

    def _numbered(self, made: Any) -> Any:
        self._objects.append(made)
        return made

    def _fill(self, mapping: Any, flat: list[Any]) -> Any:
        for key, content in zip(flat[::2], flat[1::2], strict=True):
            mapping[self.value(key)] = self.value(content)
        return mapping

    def _made(self, function: Any, arguments: Any, state: Any, items: Any, pairs: Any) -> Any:
        made = self._numbered(_looked_up(*function[1:])(*(self.value(part) for part in arguments)))
        if items is not None:
            made.extend([self.value(member) for member in items])
        if pairs is not None:
            self._fill(made, pairs)
        if state is not None:
            _set_state(made, self.value(state))
        return made


def _looked_up(module: str, name: str) -> Any:
    if not _is_allowed(module, name):
        msg = f"model state names {module}.{name}, which is not allowed in one"
        raise CorruptData(msg)
    found = _found(module, name)
    if found is None:
        msg = f"model state names {module}.{name}, which this River does not have"
        raise CorruptData(msg)
    return found


def _found(module: str, name: str) -> Any:
    """What the dotted `name` is in `module`; None if it is nothing."""
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
        # A module that a module imports is not its own: `river.x:os.system` must lead nowhere.
        if isinstance(found, ModuleType):
            return None
    home = str(getattr(found, "__module__", module))
    return found if _is_allowed(home, name) else None


def _method(owner: Any, name: str) -> Any:
    found = getattr(type(owner), name, None)
    if not _is_allowed(type(owner).__module__, name) or not callable(found):
        msg = f"model state names a method {name} of {type(owner).__name__}, which is not allowed"
        raise CorruptData(msg)
    return getattr(owner, name)


def _set_state(made: Any, state: Any) -> None:
    """As `copy.copy` does it: the object's own way, else attributes, in a dict and in slots."""
    if hasattr(made, "__setstate__"):
        made.__setstate__(state)
        return
    plain_part, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if plain_part:
        made.__dict__.update(plain_part)
    for name, content in (slots or {}).items():
        setattr(made, name, content)
