"""What is done to a document in one change: collected here, made at once.

Nothing is read while edits are collected, so an editor says what to do and never what was there.
"""

from __future__ import annotations

from collections.abc import Iterable

from ._ffi import Edit
from .values import Plain, to_path, to_value

Path = tuple[str | int, ...]


class _Place:
    def __init__(self, edits: list[Edit], path: Path) -> None:
        self._edits = edits
        self._path = path

    def _at(self, step: str | int) -> Path:
        return (*self._path, step)


class MapEdit(_Place):
    """Edits a map. A container that is missing under a key is made."""

    def put(self, key: str, value: Plain) -> None:
        """Puts a value under a key, in place of what is there. Raises ``TypeError`` for what no document can hold."""
        self._edits.append(Edit.PUT(path=to_path(self._at(key)), value=to_value(value)))

    __setitem__ = put

    def delete(self, key: str) -> None:
        """Deletes what is under a key, if anything is."""
        self._edits.append(Edit.DELETE(path=to_path(self._at(key))))

    __delitem__ = delete

    def map(self, key: str) -> MapEdit:
        """The map under a key."""
        return MapEdit(self._edits, self._at(key))

    def list(self, key: str) -> ListEdit:
        """The list under a key."""
        return ListEdit(self._edits, self._at(key))

    def text(self, key: str) -> TextEdit:
        """The text under a key."""
        return TextEdit(self._edits, self._at(key))

    def counter(self, key: str) -> CounterEdit:
        """The counter under a key."""
        return CounterEdit(self._edits, self._at(key))


class ListEdit(_Place):
    """Edits a list. Indexes count from 0, as the list stands at that point of the block."""

    def insert(self, index: int, *values: Plain) -> None:
        """Inserts elements before an index, which is at most the length; beyond it the block's end raises ``Misuse``."""
        inserted = [to_value(value) for value in values]
        self._edits.append(Edit.INSERT(path=to_path(self._path), index=index, values=inserted))

    def append(self, *values: Plain) -> None:
        """Appends elements, wherever the list ends by then."""
        self._edits.append(Edit.APPEND(path=to_path(self._path), values=[to_value(value) for value in values]))

    def extend(self, values: Iterable[Plain]) -> None:
        """Appends elements."""
        self.append(*values)

    def remove(self, index: int, count: int = 1) -> None:
        """Removes elements from an index on; all of them must be there."""
        self._edits.append(Edit.REMOVE(path=to_path(self._path), index=index, count=count))

    def put(self, index: int, value: Plain) -> None:
        """Replaces an element; lists of yrs can not: remove and insert."""
        self._edits.append(Edit.PUT(path=to_path(self._at(index)), value=to_value(value)))

    def map(self, index: int) -> MapEdit:
        """The map at an index."""
        return MapEdit(self._edits, self._at(index))

    def list(self, index: int) -> ListEdit:
        """The list at an index."""
        return ListEdit(self._edits, self._at(index))

    def text(self, index: int) -> TextEdit:
        """The text at an index."""
        return TextEdit(self._edits, self._at(index))

    def counter(self, index: int) -> CounterEdit:
        """The counter at an index."""
        return CounterEdit(self._edits, self._at(index))


class TextEdit(_Place):
    """Edits a text. Positions are UTF-16 code units; :func:`tombolo.utf16_index` finds them."""

    def splice(self, index: int, removed: int, inserted: str = "") -> None:
        """Removes code units at a position, and inserts a string there.

        The block's end raises ``TomboloError.Misuse`` beyond the text's end, and within a surrogate pair.
        """
        path = to_path(self._path)
        self._edits.append(Edit.SPLICE_TEXT(path=path, index=index, removed=removed, inserted=inserted))

    def append(self, inserted: str) -> None:
        """Appends a string, wherever the text ends by then."""
        self._edits.append(Edit.APPEND_TEXT(path=to_path(self._path), inserted=inserted))


class CounterEdit(_Place):
    """Edits a counter."""

    def increment(self, by: int = 1) -> None:
        """Adds to it; concurrent increments add up. A negative number takes away."""
        self._edits.append(Edit.INCREMENT(path=to_path(self._path), by=by))
