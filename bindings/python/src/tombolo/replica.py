"""Replicas and workspaces, with what Python makes easier: keyword arguments, ``async with``, sensible defaults."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from typing import TypeVar, cast

from . import _ffi
from .document import Document
from .events import Events, Heard, begun

_Handle = TypeVar("_Handle")


class _Heard(Heard, _ffi.ReplicaListener):
    pass


class Workspace(_ffi.Workspace):
    """A workspace: members, keys and documents. Handles are cheap."""

    async def create_document(self, crdt: _ffi.Crdt) -> Document:
        """Creates a document, empty, and kept by this CRDT for good. Both hold the same values.

        Raises ``TomboloError.Denied`` below writer, ``NotReady`` while the workspace is being joined.
        """
        return _as(Document, await super().create_document(crdt))

    async def invite(  # type: ignore[override]
        self, role: _ffi.Role, *, expires_in: datetime.timedelta | None = None, uses: int | None = 1
    ) -> str:
        """Makes an invite: a text to show or send, which is a secret until it is used. Give it to :meth:`Replica.join`.

        It is for one who joins unless told; ``uses=None`` lets any number join. ``expires_in`` counts from now, by the
        relay's clock; without it the invite stays until it is used up or revoked.

        Raises ``TomboloError.Denied`` for a role that this user may not give, ``NotReady`` while no relay was ever
        reached, which is to count the uses.
        """
        return await super().invite(role, expires_in, uses)

    async def set_role(  # type: ignore[override]
        self, user: str, role: _ffi.Role, *, expires_ms: int | None = None
    ) -> _ffi.ActOutcome:
        """Gives a member another role, for good or until a time by the relay's clock (milliseconds since 1970, UTC).

        What comes back says whether it is stated, or kept until a relay was caught up with.

        Raises ``TomboloError.Denied`` if it would not count, ``NotReady`` without the keys.
        """
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
        snapshot_entries: int | None = None,
        compact_after: datetime.timedelta | None = None,
        app_type: str | None = None,
        trusted_roots: Iterable[bytes] = (),
        offline: bool = False,
    ) -> Replica:
        """Opens a store, or makes it. No network is needed; relays that were dialled before are dialled again.

        * ``path``: the store's file. A store is open in one process at a time.
        * ``key``: where its key is kept; by default in a file beside it that only its owner may read.
        * ``durability``: what a resolved edit survives; a power cut by default.
        * ``memory_bytes``: bounds the memory of open documents that nobody watches; 64 MiB by default.
        * ``snapshot_entries``: entries since a document's newest snapshot from which its busiest writer publishes it anew as it
          is opened, while the others vouch for it; then a relay may delete what it stands for, if it is told to. Never by default.
        * ``compact_after``: how long a published snapshot must have had the words of enough members before this device gives up
          the entries that it stands for; the document stays as it is. Never by default.
        * ``app_type``: marks the documents that this app creates; ``Workspace.documents`` lists it.
        * ``trusted_roots``: certificate authorities (DER) to trust for relays, beside the web's.
        * ``offline``: dials no relay before :meth:`resume` or :meth:`sync_once`.

        Raises ``TomboloError.Store``, whose ``fault`` says what is in the way: another process, the disk, the key.
        """
        options = _ffi.OpenOptions(
            path=os.fspath(path),
            key=key,
            durability=durability,
            memory_bytes=memory_bytes,
            snapshot_entries=snapshot_entries,
            compact_after=compact_after,
            app_type=app_type,
            trusted_roots=list(trusted_roots),
            offline=offline,
        )
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
        """Brings a user back from a kit, into a new store; workspaces come as soon as a relay was dialled.

        Raises ``TomboloError.Misuse`` if there is a workspace at the path, ``Store``.
        """
        options = _ffi.OpenOptions(path=os.fspath(path), key=key, trusted_roots=list(trusted_roots))
        return _as(Replica, await _ffi.Replica.recover(kit, options))

    async def close(self) -> None:
        """Ends all sessions and closes the store; closing it again does nothing. Handles raise ``Closed`` from then on.

        Raises ``TomboloError.Store`` if something could not be written back; nothing acknowledged is lost.
        """
        try:
            await self.shutdown()
        except _ffi.TomboloError.Closed:
            pass

    async def __aenter__(self) -> Replica:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def create_workspace(self, name: str) -> Workspace:
        """Founds a workspace, whose owner is this user; no network is needed. The name is encrypted as all content is."""
        return _as(Workspace, await super().create_workspace(name))

    def workspace(self, id: str) -> Workspace:
        """A handle to a workspace; whether it exists shows when it is used. Raises ``TomboloError.Misuse`` for no id."""
        return _as(Workspace, super().workspace(id))

    def document(self, id: str) -> Document:
        """A handle to a document; whether it exists shows when it is used. Raises ``TomboloError.Misuse`` for no id."""
        return _as(Document, super().document(id))

    async def join(self, invite: str) -> Workspace:
        """Accepts an invite, durably at once; ``await workspace.ready()`` waits until a relay has taken it.

        Raises ``TomboloError.Input`` if the text is no invite.
        """
        return _as(Workspace, await super().join(invite))

    async def dial(  # type: ignore[override]
        self, address: str, *, allow_proxy: bool = False, token: str | None = None
    ) -> None:
        """Reaches a relay, and keeps reaching it: the address is remembered by the store. Returns before it is reached.

        ``address`` is ``wss://…``, or ``ws://`` on this machine. ``allow_proxy`` is for a relay behind a proxy that ends
        TLS, which must be trusted; ``token`` is what a relay wants that admits by token.

        Raises ``TomboloError.Input`` for an address that can not be dialled safely.
        """
        await super().dial(address, allow_proxy, token)

    async def sync_once(self, deadline: datetime.timedelta | float) -> None:  # type: ignore[override]
        """Reaches the relays, and returns as soon as nothing is owed: what fits a background task.

        ``deadline`` is a time from now; a number counts seconds. Raises ``TomboloError.Deadline`` if it is over first; the
        work goes on while the replica is open.
        """
        time = deadline if isinstance(deadline, datetime.timedelta) else datetime.timedelta(seconds=deadline)
        await super().sync_once(time)

    async def notify_network(self, reachability: _ffi.Reachability = _ffi.Reachability.REACHABLE) -> None:
        """Says that the network has changed: relays are dialled at once instead of after their wait."""
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


def _as(kind: type[_Handle], handle: object) -> _Handle:
    # The handle is the same, with more methods.
    handle.__class__ = kind
    return cast(_Handle, handle)
