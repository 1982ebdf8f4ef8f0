"""Replicas and workspaces, with what Python makes easier: keyword arguments, ``async with``, sensible defaults."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable

from . import _ffi
from .document import Document
from .events import Events, Heard, begun


class _Heard(Heard, _ffi.ReplicaListener):
    pass


class Workspace(_ffi.Workspace):
    """A workspace: members, keys and documents. Handles are cheap."""

    async def create_document(self, crdt: _ffi.Crdt) -> Document:
        """Creates a document."""
        return _as(Document, await super().create_document(crdt))

    async def invite(  # type: ignore[override]
        self, role: _ffi.Role, *, expires_in: datetime.timedelta | None = None, uses: int | None = 1
    ) -> str:
        """Makes an invite, for one who joins unless told; ``uses=None`` lets any number join."""
        return await super().invite(role, expires_in, uses)

    async def set_role(  # type: ignore[override]
        self, user: str, role: _ffi.Role, *, expires_ms: int | None = None
    ) -> _ffi.ActOutcome:
        """Gives a member another role, for good or until a time by the relay's clock."""
        return await super().set_role(user, role, expires_ms)


class Replica(_ffi.Replica):
    """One durable local copy: a store, its identity, and its sessions with relays.

    Leaving ``async with`` closes it.
    """

    @classmethod
    async def open(  # type: ignore[override]
        cls,
        path: str | os.PathLike[str],
        *,
        key: _ffi.KeyPlace | None = None,
        durability: _ffi.Durability | None = None,
        memory_bytes: int | None = None,
        app_type: str | None = None,
        trusted_roots: Iterable[bytes] = (),
        offline: bool = False,
    ) -> Replica:
        """Opens a store, or makes it. No network is needed."""
        options = _options(path, key, durability, memory_bytes, app_type, trusted_roots, offline)
        return _as(Replica, await _ffi.Replica.open(options))

    @classmethod
    async def recover(  # type: ignore[override]
        cls,
        kit: _ffi.RecoveryKit,
        path: str | os.PathLike[str],
        *,
        key: _ffi.KeyPlace | None = None,
        trusted_roots: Iterable[bytes] = (),
    ) -> Replica:
        """Brings a user back from a kit, into a new store."""
        options = _options(path, key, None, None, None, trusted_roots, False)
        return _as(Replica, await _ffi.Replica.recover(kit, options))

    async def close(self) -> None:
        """Ends all sessions and closes the store; closing it again does nothing."""
        try:
            await self.shutdown()
        except _ffi.TomboloError.Closed:
            pass

    async def __aenter__(self) -> Replica:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def create_workspace(self, name: str) -> Workspace:
        """Founds a workspace; no network is needed."""
        return _as(Workspace, await super().create_workspace(name))

    def workspace(self, id: str) -> Workspace:
        """A handle to a workspace; whether it exists shows when it is used."""
        return _as(Workspace, super().workspace(id))

    def document(self, id: str) -> Document:
        """A handle to a document; whether it exists shows when it is used."""
        return _as(Document, super().document(id))

    async def join(self, invite: str) -> Workspace:
        """Accepts an invite; ``await workspace.ready()`` waits until a relay has taken it."""
        return _as(Workspace, await super().join(invite))

    async def dial(  # type: ignore[override]
        self, address: str, *, allow_proxy: bool = False, token: str | None = None
    ) -> None:
        """Reaches a relay, and keeps reaching it: the address is remembered by the store."""
        await super().dial(address, allow_proxy, token)

    async def sync_once(self, deadline: datetime.timedelta | float) -> None:  # type: ignore[override]
        """Reaches the relays, and returns as soon as nothing is owed; raises ``TomboloError.Deadline``."""
        time = deadline if isinstance(deadline, datetime.timedelta) else datetime.timedelta(seconds=deadline)
        await super().sync_once(time)

    async def notify_network(self, reachability: _ffi.Reachability = _ffi.Reachability.REACHABLE) -> None:
        """Says that the network has changed."""
        await super().notify_network(reachability)

    async def events(self) -> Events[_ffi.ReplicaEvent]:
        """Hears of everything that happens: how things stand first.

        Who iterates too slowly misses events, and is then told how things stand again.
        """

        async def subscribe() -> Heard:
            heard = _Heard()
            heard.subscription = await self.subscribe(heard)
            return heard

        return await begun(subscribe, lambda event: event)


def _as(kind, handle):  # type: ignore[no-untyped-def]
    # The handle is the same, with more methods.
    handle.__class__ = kind
    return handle


def _options(path, key, durability, memory_bytes, app_type, trusted_roots, offline):  # type: ignore[no-untyped-def]
    return _ffi.OpenOptions(
        path=os.fspath(path),
        key=key,
        durability=durability,
        memory_bytes=memory_bytes,
        app_type=app_type,
        trusted_roots=list(trusted_roots),
        offline=offline,
    )
