"""The scenarios that all languages run, read from `conformance/scenarios.txt`: one method here for each verb."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tombolo
from relay import Relay
from tombolo import Crdt, Replica, TomboloError

SCENARIOS = Path(__file__).parents[2] / "conformance" / "scenarios.txt"
PATIENCE_S = 120
"""How long anything may take on a busy machine."""
CANCELLED_S = 0.1

_WORD = re.compile(r'"(?:\\.|[^"\\])*"|(?:[^\s"]|"(?:\\.|[^"\\])*")+')
_ROLES = {role.name.lower(): role for role in tombolo.Role}


@dataclass
class Scenario:
    name: str
    crdt: str
    steps: list[list[str]]


def cut(line: str) -> list[str]:
    """Cuts a line into words."""
    return _WORD.findall(line)


def read() -> list[Scenario]:
    """Reads all scenarios; one for each CRDT where it says so."""
    blocks: list[tuple[list[str], list[list[str]]]] = []
    for line in SCENARIOS.read_text(encoding="utf-8").splitlines():
        words = cut(line)
        if not words or line.startswith("#"):
            continue
        if words[0] == "scenario":
            blocks.append((words[1:], []))
        else:
            blocks[-1][1].append(words)
    return [
        Scenario(head[0], crdt, [[crdt if word == "CRDT" else word for word in step] for step in steps])
        for head, steps in blocks
        for crdt in (["automerge", "yrs"] if "each-crdt" in head else [""])
    ]


def _plain(word: str) -> Any:
    return json.loads(word)


class Stage:
    """The people of one scenario, and what they hold."""

    def __init__(self, folder: Path, start_relay: Callable[[], Relay] | None) -> None:
        self._folder, self._start_relay = folder, start_relay
        self._relay: Relay | None = None
        self._address = ""
        self._replicas: dict[str, Replica] = {}
        self._workspaces: dict[str, str] = {}
        self._documents: dict[str, str] = {}
        self._invites: dict[str, str] = {}
        self._watches: dict[tuple[str, str], tombolo.Events[tombolo.DocumentEvent]] = {}
        self._kit: tombolo.RecoveryKit | None = None
        self.told: Callable[[str, str, str], None] = lambda kind, name, value: None
        """Is told of each name that a step gives to something, for other stages."""

    def learn(self, kind: str, name: str, value: str) -> None:
        """Learns what another stage has named."""
        if kind == "relay":
            self._address = value
        else:
            {"workspace": self._workspaces, "document": self._documents, "invite": self._invites}[kind][name] = value

    def _name(self, kind: str, name: str, value: str) -> None:
        self.learn(kind, name, value)
        self.told(kind, name, value)

    async def play(self, scenario: Scenario) -> None:
        try:
            for number, step in enumerate(scenario.steps):
                try:
                    async with asyncio.timeout(PATIENCE_S):
                        await self.step(step)
                except BaseException as error:
                    error.add_note(f"step {number + 1} of {scenario.name} {scenario.crdt}: {' '.join(step)}")
                    raise
        finally:
            await self.end()

    async def end(self) -> None:
        for replica in self._replicas.values():
            await replica.close()

    async def step(self, words: list[str]) -> None:
        await getattr(self, "do_" + words[0].replace("-", "_"))(*words[1:])

    def _workspace(self, who: str, workspace: str) -> tombolo.Workspace:
        return self._replicas[who].workspace(self._workspaces[workspace])

    def _document(self, who: str, document: str) -> tombolo.Document:
        return self._replicas[who].document(self._documents[document])

    async def _until(
        self,
        watch: Callable[[], Awaitable[tombolo.Events[Any]]],
        look: Callable[[], Awaitable[object]],
        wanted: object,
    ) -> None:
        """Looks whenever something has happened: the first event is how things stand."""
        found = None
        try:
            async with await watch() as events:
                async for _ in events:
                    if (found := await look()) == wanted:
                        return
        except asyncio.CancelledError:
            raise AssertionError(f"{found!r} is not {wanted!r}") from None
        raise AssertionError("the events have ended")

    # Stores.

    async def do_open(self, who: str) -> None:
        self._replicas[who] = await Replica.open(self._folder / f"{who}.tombolo")

    do_reopen = do_open

    async def do_close(self, who: str) -> None:
        await self._replicas[who].close()

    # Documents.

    async def do_found(self, who: str, workspace: str) -> None:
        self._name("workspace", workspace, (await self._replicas[who].create_workspace(workspace)).id())

    async def do_create(self, who: str, workspace: str, document: str, crdt: str) -> None:
        created = await self._workspace(who, workspace).create_document(Crdt[crdt.upper()])
        self._name("document", document, created.id())

    async def do_put(self, who: str, document: str, key: str, value: str) -> None:
        async with self._document(who, document).edit() as edit:
            edit.put(_plain(key) if key.startswith('"') else key, _plain(value))

    async def do_type(self, who: str, document: str, key: str, at: str, removed: str, text: str) -> None:
        async with self._document(who, document).edit() as edit:
            edit.text(key).splice(int(at), int(removed), _plain(text))

    async def do_append(self, who: str, document: str, key: str, text: str) -> None:
        async with self._document(who, document).edit() as edit:
            edit.text(key).append(_plain(text))

    async def do_push(self, who: str, document: str, key: str, value: str) -> None:
        async with self._document(who, document).edit() as edit:
            edit.list(key).append(_plain(value))

    async def do_take(self, who: str, document: str, key: str, at: str, count: str) -> None:
        async with self._document(who, document).edit() as edit:
            edit.list(key).remove(int(at), int(count))

    async def do_count(self, who: str, document: str, key: str, by: str) -> None:
        async with self._document(who, document).edit() as edit:
            edit.counter(key).increment(int(by))

    async def do_drop(self, who: str, document: str, key: str) -> None:
        async with self._document(who, document).edit() as edit:
            edit.delete(key)

    async def do_expect(self, who: str, document: str, key: str, value: str) -> None:
        found = await self._document(who, document).read(key)
        assert found == _plain(value), f"{found!r} is not {value}"

    async def do_arrives(self, who: str, document: str, key: str, value: str) -> None:
        watched = self._document(who, document)
        await self._until(watched.watch, lambda: watched.read(key), _plain(value))

    async def do_version(self, who: str, document: str) -> None:
        self.told("version", document, (await self._document(who, document).version()).hex())

    async def do_read_unknown(self, who: str) -> None:
        await self._replicas[who].document("00" * 16).read()

    async def do_read_misnamed(self, who: str) -> None:
        self._replicas[who].document("no id")

    # Relays.

    async def do_relay(self) -> None:
        assert self._start_relay
        self._relay = self._start_relay()
        self._name("relay", "relay", self._relay.address)

    async def do_dial(self, who: str) -> None:
        await self._replicas[who].dial(self._address)

    async def do_dial_at(self, who: str, address: str) -> None:
        await self._replicas[who].dial(_plain(address))

    async def do_cut(self) -> None:
        assert self._relay
        self._relay.kill()

    async def do_mend(self) -> None:
        if self._relay:
            self._relay.start()
        for replica in self._replicas.values():
            await replica.notify_network()

    async def do_settled(self, who: str, workspace: str) -> None:
        await self._workspace(who, workspace).settled()

    async def do_owed(self, who: str, workspace: str) -> None:
        debt = await self._workspace(who, workspace).sync_debt()
        assert not debt.settled and (debt.documents or debt.records), debt

    async def do_only(self, who: str, workspace: str, *documents: str) -> None:
        ids = [self._documents[document] for document in documents]
        asked = self._workspace(who, workspace)
        await asked.sync_only(ids)
        assert await asked.synced_only() == sorted(ids)

    async def do_all(self, who: str, workspace: str) -> None:
        await self._workspace(who, workspace).sync_all()
        assert await self._workspace(who, workspace).synced_only() is None

    async def do_durable(self, who: str, document: str) -> None:
        await self._document(who, document).wait_for()

    async def do_same(self, document: str, one: str, other: str) -> None:
        here, there = self._document(one, document), self._document(other, document)

        async def equal() -> bool:
            return await here.version() == await there.version()

        # Whichever changes last sees it.
        looking = [asyncio.ensure_future(self._until(each.watch, equal, True)) for each in (here, there)]
        done, waiting = await asyncio.wait(looking, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await done.pop()

    async def do_pause(self, who: str) -> None:
        await self._replicas[who].pause()

    async def do_resume(self, who: str) -> None:
        await self._replicas[who].resume()

    async def do_sync(self, who: str, seconds: str) -> None:
        await self._replicas[who].sync_once(float(seconds))

    # Watching.

    async def do_watch(self, who: str, document: str) -> None:
        self._watches[who, document] = await self._document(who, document).watch()

    async def do_hears(self, who: str, document: str, key: str, value: str) -> None:
        watch, wanted = self._watches[who, document], _plain(value)
        async for event in watch:
            if isinstance(event, tombolo.Current):
                if event.value.get(key) == wanted:
                    return
            elif any(path == (key,) and _put(patch) == wanted for path, patch in zip(event.paths, event.patches)):
                return
        raise AssertionError("the events have ended")

    async def do_unwatch(self, who: str, document: str) -> None:
        self._watches.pop((who, document)).cancel()

    # People.

    async def do_invite(self, who: str, workspace: str, role: str) -> None:
        self._name("invite", workspace, await self._workspace(who, workspace).invite(_ROLES[role]))

    async def do_accept(self, who: str, invite: str) -> None:
        await self._replicas[who].join(_plain(invite))

    async def do_join(self, who: str, workspace: str) -> None:
        joined = await self._replicas[who].join(self._invites[workspace])
        await joined.ready()

    async def do_has(self, who: str, document: str) -> None:
        replica = self._replicas[who]

        async def listed() -> bool:
            lists = [await replica.workspace(held.id).documents() for held in await replica.workspaces()]
            return any(summary.id == self._documents[document] for summaries in lists for summary in summaries)

        await self._until(replica.events, listed, True)

    async def do_role(self, who: str, workspace: str, whom: str, role: str) -> None:
        user = (await self._replicas[whom].identity()).user
        await self._workspace(who, workspace).set_role(user, _ROLES[role])

    async def do_remove(self, who: str, workspace: str, whom: str) -> None:
        user = (await self._replicas[whom].identity()).user
        await self._workspace(who, workspace).remove_member(user)

    async def do_members(self, who: str, workspace: str, count: str) -> None:
        async def has() -> int:
            return len(await self._workspace(who, workspace).members())

        await self._until(self._replicas[who].events, has, int(count))

    async def do_becomes(self, who: str, workspace: str, role: str) -> None:
        async def has() -> tombolo.Role | None:
            found = await self._replicas[who].workspaces()
            return next((held.role for held in found if held.id == self._workspaces[workspace]), None)

        await self._until(self._replicas[who].events, has, None if role == "none" else _ROLES[role])

    # Devices.

    async def do_link(self, new: str, old: str) -> None:
        request = await self._replicas[new].request_link(self._address, tombolo.LinkWay.SCAN)
        approval = await self._replicas[old].approve_link(request.text())
        digits = await request.digits()
        await approval.asked()
        await approval.confirm(digits)
        user = await request.linked()
        assert user == (await self._replicas[old].identity()).user

    async def do_devices(self, who: str, count: str) -> None:
        async def counted() -> int:
            return sum(not device.revoked for device in await self._replicas[who].devices())

        await self._until(self._replicas[who].events, counted, int(count))

    async def do_revoke(self, who: str, whom: str) -> None:
        device = (await self._replicas[whom].identity()).device
        await self._replicas[who].revoke_device(device)

    async def do_kit(self, who: str) -> None:
        kit = await self._replicas[who].recovery_kit()
        self._kit = tombolo.RecoveryKit.from_words(kit.words())
        await self._replicas[who].confirm_kit(self._kit)

    async def do_recover(self, who: str) -> None:
        assert self._kit
        self._replicas[who] = await Replica.recover(self._kit, self._folder / f"{who}.tombolo")

    # Steps about steps.

    async def do_fails(self, kind: str, *step: str) -> None:
        variant, _, fault = kind.partition(".")
        try:
            await self.step(list(step))
        except TomboloError as error:
            named = type(error).__name__
            carried = next((value.name for name, value in vars(error).items() if name != "reason"), "")
            assert named == variant and fault in ("", carried), f"{named}.{carried} is not {kind}: {error}"
            assert len(error.reason.split()) > 3, f"{kind} gives no reason: {error}"
        else:
            raise AssertionError(f"it did not fail with {kind}")

    async def do_cancels(self, *step: str) -> None:
        task = asyncio.create_task(self.step(list(step)))
        await asyncio.sleep(0.2)
        assert not task.done(), "it did not wait"
        began = time.monotonic()
        task.cancel()
        await asyncio.wait([task])
        took = time.monotonic() - began
        assert task.cancelled() and took < CANCELLED_S, f"it took {took:.3f} s to cancel"


def _put(patch: tombolo.Patch) -> tombolo.Plain:
    action = patch.action
    return tombolo.values.from_value(action.value) if isinstance(action, tombolo.PatchAction.PUT) else None
