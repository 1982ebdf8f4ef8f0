"""A document: edited in blocks, read as plain values, watched as a stream."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator

from . import _ffi
from .edits import MapEdit
from .events import Events, Heard, begun
from .values import Plain, from_path, from_value, to_path


@dataclasses.dataclass(frozen=True)
class Current:
    """The document as it is: the first event, and the one after events were missed."""

    value: Plain


@dataclasses.dataclass(frozen=True)
class Changed:
    """The document changed."""

    patches: list[_ffi.Patch]
    """What changed, in order."""
    author: str | None
    """Which device wrote it, if it was one."""
    origin: _ffi.Origin
    """From here or from elsewhere."""

    @property
    def paths(self) -> list[tuple[str | int, ...]]:
        """Where it changed."""
        return [from_path(patch.path) for patch in self.patches]


DocumentEvent = Current | Changed


def _plain(event: _ffi.DocumentEvent) -> DocumentEvent:
    if isinstance(event, _ffi.DocumentEvent.CURRENT):
        return Current(from_value(event.value))
    assert isinstance(event, _ffi.DocumentEvent.CHANGED)
    return Changed(event.patches, event.author, event.origin)


class _Heard(Heard, _ffi.DocumentListener):
    pass


class Document(_ffi.Document):
    """A document. Handles are cheap, and hold nothing open."""

    @contextlib.asynccontextmanager
    async def edit(self) -> AsyncIterator[MapEdit]:  # type: ignore[override]
        """Edits the document: what the block does is one change, durable when the block is left::

            async with document.edit() as edit:
                edit["title"] = "Reef survey"
                edit.text("body").append("Low tide at six.")

        Raises ``TomboloError.Misuse`` for what can not be done (a position beyond the end, a list where a map is),
        ``Denied`` below writer, ``Store``. If the block raises, nothing has changed. If the task is cancelled while the block is left, the change may have
        been made.
        """
        edits: list[_ffi.Edit] = []
        yield MapEdit(edits, ())
        if edits:
            await super().edit(edits)

    async def read(self, *path: str | int) -> Plain:  # type: ignore[override]
        """Reads what is at a path of keys and indexes; without one the whole document. ``None`` if nothing is there::

            await document.read("tasks", 0, "what")

        Raises ``TomboloError.NotFound`` for a document that is not here, ``Document`` for one that can not be shown.
        """
        value = await super().read(to_path(path))
        return None if value is None else from_value(value)

    async def read_with_kept(self, *path: str | int) -> Plain:  # type: ignore[override]
        """Reads with own changes that do not count any more, because the right to write was lost."""
        value = await super().read_with_kept(to_path(path))
        return None if value is None else from_value(value)

    async def watch(self) -> Events[DocumentEvent]:
        """Watches the document: its present state first, then every change.

        Who iterates too slowly misses changes, and is then given :class:`Current` again.
        """

        async def subscribe() -> Heard:
            heard = _Heard()
            heard.subscription = await self.subscribe(heard)
            return heard

        return await begun(subscribe, _plain)

    async def wait_for(self, milestone: _ffi.Milestone | None = None) -> None:  # type: ignore[override]
        """Waits until what this device wrote so far has come this far, to a relay's disk unless told.

        Without a relay it waits without an end: give it ``asyncio.timeout``.
        """
        await super().wait_for(_ffi.Milestone.RELAY_DURABLE() if milestone is None else milestone)
