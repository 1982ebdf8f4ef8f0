"""Plain Python values for those of a document, both ways.

``None``, ``bool``, ``int``, ``float``, ``str``, ``bytes``, ``dict`` and ``list`` stand for themselves. What Python has no
type for has one here, which is a subclass of the nearest: :class:`Text`, :class:`Counter`, :class:`Timestamp`.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from ._ffi import PathStep, Value

Plain: TypeAlias = Any
"""None, bool, int, float, str, bytes, Text, Counter, Timestamp, datetime, or dicts and lists of them."""

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


class Text(str):
    """A string that is edited character by character; a plain ``str`` is replaced as a whole."""


class Counter(int):
    """A number in which concurrent increments add up."""


class Timestamp(int):
    """Milliseconds since 1970-01-01 UTC."""

    @property
    def datetime(self) -> datetime.datetime:
        """The moment, in UTC. Raises ``OverflowError`` beyond the year 9999."""
        return _EPOCH + datetime.timedelta(milliseconds=self)


def to_value(plain: Plain) -> Value:
    """Takes a plain value for a document's; raises ``TypeError`` for what no document can hold."""
    match plain:
        case None:
            return Value.NULL()
        case bool():
            return Value.BOOL(plain)
        case Counter():
            return Value.COUNTER(int(plain))
        case Timestamp():
            return Value.TIMESTAMP(int(plain))
        case datetime.datetime():
            if plain.tzinfo is None:
                raise TypeError("a datetime without a time zone is no moment; give it one")
            return Value.TIMESTAMP((plain - _EPOCH) // datetime.timedelta(milliseconds=1))
        case int():
            if not -(2**63) <= plain < 2**63:
                raise OverflowError("a document's numbers have 64 bits; use a string or a float")
            return Value.I64(int(plain))
        case float():
            return Value.F64(plain)
        case Text():
            return Value.TEXT(str(plain))
        case str():
            return Value.STRING(plain)
        case bytes() | bytearray() | memoryview():
            return Value.BYTES(bytes(plain))
        case Mapping():
            return Value.MAP({key: to_value(value) for key, value in plain.items()})
        case Iterable():
            return Value.LIST([to_value(value) for value in plain])
        case _:
            raise TypeError(f"no document can hold a {type(plain).__name__}")


def from_value(value: Value) -> Plain:
    """Takes a document's value for a plain one."""
    match value:
        case Value.MAP():
            return {key: from_value(inner) for key, inner in value[0].items()}
        case Value.LIST():
            return [from_value(inner) for inner in value[0]]
        case Value.NULL():
            return None
        case Value.TEXT():
            return Text(value[0])
        case Value.COUNTER():
            return Counter(value[0])
        case Value.TIMESTAMP():
            return Timestamp(value[0])
        case Value.BOOL() | Value.I64() | Value.F64() | Value.STRING() | Value.BYTES():
            return value[0]
        case _:
            raise TypeError(f"{value} is of a later version of the library")


def to_path(steps: Iterable[str | int]) -> list[PathStep]:
    """Takes keys and indexes for a path."""
    return [PathStep.KEY(key=step) if isinstance(step, str) else PathStep.INDEX(index=step) for step in steps]


def from_path(path: Iterable[PathStep]) -> tuple[str | int, ...]:
    """Takes a path for keys and indexes."""
    return tuple(_from_step(step) for step in path)


def _from_step(step: PathStep) -> str | int:
    if isinstance(step, PathStep.KEY):
        return step.key
    assert isinstance(step, PathStep.INDEX)
    return step.index


def utf16_index(text: str, index: int) -> int:
    """Says where a position of a Python string is in a document's text, which counts UTF-16 code units."""
    return len(text[:index].encode("utf-16-le", "surrogatepass")) // 2
