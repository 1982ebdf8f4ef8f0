"""What is Python's own: values, listeners, vaults, logs, and what a killed process leaves."""

import asyncio
import datetime
import gc
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

import tombolo
from tombolo import Crdt, Document, Replica, Role, Text, Timestamp, TomboloError


def run(story: Coroutine[None, None, None]) -> None:
    """Runs a story; everything it opened is gone when it ends."""

    async def bounded() -> None:
        async with asyncio.timeout(120):
            await story

    asyncio.run(bounded())


async def opened(path: Path, crdt: Crdt = Crdt.YRS) -> tuple[Replica, Document]:
    replica = await Replica.open(path / "notes.tombolo")
    workspace = await replica.create_workspace("things")
    return replica, await workspace.create_document(crdt)


@pytest.mark.parametrize("crdt", list(Crdt))
def test_values_come_back_as_they_went_in(tmp_path: Path, crdt: Crdt) -> None:
    async def story() -> None:
        replica, document = await opened(tmp_path, crdt)
        moment = datetime.datetime(2026, 11, 21, 9, 30, tzinfo=datetime.timezone.utc)
        given: dict[str, Any] = {
            "null": None,
            "bool": True,
            "int": -(2**63),
            "float": 0.25,
            "str": "🌊 e\u0301",
            "bytes": b"\x00\xff",
            "moment": moment,
            "text": Text("typed"),
            "counter": tombolo.Counter(7),
            "list": [1, [2, {"three": 3}], "4"],
            "map": {"a": {"b": []}},
        }
        async with document.edit() as edit:
            for key, value in given.items():
                edit[key] = value
        read = await document.read()
        assert read == given | {"moment": Timestamp(moment.timestamp() * 1000)}
        assert read["moment"].datetime == moment
        assert isinstance(read["text"], Text) and not isinstance(read["str"], Text)
        assert await document.read("list", 1, 1, "three") == 3
        assert await document.keys() == sorted(given)
        with pytest.raises(TypeError):
            async with document.edit() as edit:
                edit.put("x", object())
        with pytest.raises(OverflowError):
            async with document.edit() as edit:
                edit.put("x", 2**63)
            await document.read()
        assert await document.read("x") is None
        await replica.close()

    run(story())


def test_a_block_that_raises_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        replica, document = await opened(tmp_path)
        with pytest.raises(ZeroDivisionError):
            async with document.edit() as edit:
                edit.put("title", "half")
                1 / 0
        assert await document.read() == {}
        await replica.close()

    run(story())


def test_listeners_hear_everything_in_order_from_one_thread_and_outlive_what_they_throw(tmp_path: Path) -> None:
    class Listener(tombolo._ffi.DocumentListener):
        def __init__(self) -> None:
            self.heard: list[tombolo._ffi.DocumentEvent] = []
            self.threads: set[int] = set()
            self.ended = threading.Event()

        def on_events(self, events: list[tombolo._ffi.DocumentEvent]) -> None:
            self.threads.add(threading.get_ident())
            self.heard += events
            if len(self.heard) == 1:
                raise RuntimeError("a listener that throws")

        def on_end(self) -> None:
            self.ended.set()

    async def story() -> None:
        replica, document = await opened(tmp_path)
        listeners = [Listener(), Listener()]
        first = await document.subscribe(listeners[0])
        while not listeners[0].heard:
            await asyncio.sleep(0.01)
        for number in range(200):
            async with document.edit() as edit:
                edit.put("n", number)
        watch = await document.watch()
        assert isinstance(await anext(watch), tombolo.Current)
        watch.cancel()
        assert [event async for event in watch] == []
        await replica.close()
        assert await asyncio.to_thread(listeners[0].ended.wait, 60)
        changed = [event for event in listeners[0].heard if isinstance(event, tombolo._ffi.DocumentEvent.CHANGED)]
        assert [_put(event.patches[-1]) for event in changed] == list(range(200))
        assert len(listeners[0].threads) == 1 and threading.get_ident() not in listeners[0].threads
        # The task behind it ends when its last call has returned.
        while not first.is_ended():
            await asyncio.sleep(0.01)

    run(story())


def test_who_iterates_slowly_is_shown_the_whole_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tombolo.events, "_WAITING_MAX", 8)

    async def story() -> None:
        replica, document = await opened(tmp_path)
        async with await document.watch() as events:
            assert await anext(events) == tombolo.Current({})
            for number in range(200):
                async with document.edit() as edit:
                    edit.put("n", number)
            # What came first is still delivered, in order; the last of it leads on to the whole.
            heard = 0
            while isinstance(event := await anext(events), tombolo.Changed):
                assert _put(event.patches[-1]) == heard
                heard += 1
            assert heard <= 8 and event == tombolo.Current({"n": 199})
            async with document.edit() as edit:
                edit.put("n", 200)
            event = await anext(events)
            assert isinstance(event, tombolo.Changed) and event.paths == [("n",)]
        await replica.close()

    run(story())


def test_the_replicas_events_begin_with_how_things_stand(tmp_path: Path) -> None:
    async def story() -> None:
        replica, document = await opened(tmp_path)
        async with await replica.events() as events:
            current = await anext(events)
            assert isinstance(current, tombolo.ReplicaEvent.CURRENT)
            assert [held.name for held in current.workspaces] == ["things"] and current.relays == []
            await replica.forget_workspace(current.workspaces[0].id, tombolo.Unsent.DISCARD)
            async for event in events:
                if isinstance(event, tombolo.ReplicaEvent.WORKSPACE_FORGOTTEN):
                    assert event.workspace == current.workspaces[0].id
                    break
        await replica.close()

    run(story())


def test_a_vault_of_the_apps_keeps_the_key_and_what_it_throws_is_told(tmp_path: Path) -> None:
    class Vault(tombolo.KeyVault):
        key: bytes | None = None
        fault: Exception | None = None

        def load(self) -> bytes | None:
            if self.fault:
                raise self.fault
            return self.key

        def save(self, key: bytes) -> None:
            self.key = key

    async def story() -> None:
        vault = Vault()
        place = tombolo.KeyPlace.VAULT(vault=vault)
        replica = await Replica.open(tmp_path / "a.tombolo", key=place)
        identity = await replica.identity()
        await replica.close()
        assert vault.key and len(vault.key) == 32 and not (tmp_path / "a.tombolo.key").exists()
        for fault in [tombolo.VaultError.Refused(code=-25308), ValueError("a mistake of the app")]:
            vault.fault = fault
            with pytest.raises(TomboloError.Store) as raised:
                await Replica.open(tmp_path / "a.tombolo", key=place)
            assert raised.value.fault == tombolo.StoreFault.VAULT
        vault.fault, kept, vault.key = None, vault.key, bytes(32)
        with pytest.raises(TomboloError.Store) as raised:
            await Replica.open(tmp_path / "a.tombolo", key=place)
        assert raised.value.fault == tombolo.StoreFault.WRONG_KEY
        vault.key = kept
        async with await Replica.open(tmp_path / "a.tombolo", key=place) as again:
            assert await again.identity() == identity

    run(story())


def test_the_log_goes_to_pythons(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        tombolo.log_to(logging.getLogger("tombolo"), tombolo.LogLevel.TRACE)
        replica, document = await opened(tmp_path)
        with pytest.raises(TomboloError.Misuse):
            async with document.edit() as edit:
                edit.text("body").splice(9, 0, "secret words")
        while "can not be" not in caplog.text:
            await asyncio.sleep(0.01)
        tombolo.log_to(None)
        await replica.close()
        assert "secret words" not in caplog.text and "OutOfRange" in caplog.text

    caplog.set_level(logging.DEBUG)
    run(story())


_WRITER = textwrap.dedent(
    """
    import asyncio, sys, tombolo

    async def main(path):
        replica = await tombolo.Replica.open(path)
        workspace = await replica.create_workspace("things")
        document = await workspace.create_document(tombolo.Crdt.YRS)
        print("document", document.id(), flush=True)
        number = 0
        while True:
            batch = []
            for _ in range(4):
                batch.append(put(document, number))
                number += 1
            for one in asyncio.as_completed(batch):
                print(await one, flush=True)

    async def put(document, number):
        async with document.edit() as edit:
            edit.put(str(number), "x" * 200)
        return number

    asyncio.run(main(sys.argv[1]))
    """
)


@pytest.mark.parametrize("after", [20, 60, 140])
def test_what_was_acknowledged_is_there_after_the_process_was_killed(tmp_path: Path, after: int) -> None:
    path = tmp_path / "notes.tombolo"
    writer = subprocess.Popen([sys.executable, "-c", _WRITER, path], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    name = writer.stdout.readline().split()[1]
    acknowledged = [int(writer.stdout.readline()) for _ in range(after)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in writer.stdout.read().splitlines() if line]
    writer.wait()

    async def story() -> None:
        async with await Replica.open(path) as replica:
            kept = await replica.document(name).read()
            assert {str(number) for number in acknowledged} <= set(kept)
            assert set(kept.values()) == {"x" * 200}

    run(story())


def test_no_handle_is_left_when_the_app_lets_go(tmp_path: Path) -> None:
    async def story() -> None:
        gc.collect()
        before = tombolo.live_object_count()
        replica, document = await opened(tmp_path)
        watch = await document.watch()
        await anext(watch)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await document.wait_for()
        assert tombolo.live_object_count() > before
        watch.cancel()
        await replica.close()
        del watch, document, replica
        gc.collect()
        assert tombolo.live_object_count() == before

    run(story())


def _put(patch: tombolo.Patch) -> tombolo.Plain:
    assert isinstance(patch.action, tombolo.PatchAction.PUT)
    return tombolo.values.from_value(patch.action.value)


def _rss_bytes() -> int:
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read from /proc")
def test_a_million_calls_and_a_hundred_thousand_listeners_leak_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        replica, document = await opened(tmp_path)
        async with document.edit() as edit:
            edit.put("title", "Reef survey")
        before_count = tombolo.live_object_count()

        async def calls(count: int) -> None:
            for _ in range(count // 10):
                handle = replica.document(document.id())
                for _ in range(8):
                    handle.id()
                await handle.read("title")

        async def listeners(count: int) -> None:
            for _ in range(count):
                async with await document.watch() as events:
                    await anext(events)

        await calls(50_000)
        await listeners(2_000)
        gc.collect()
        before = _rss_bytes()
        await calls(1_000_000)
        gc.collect()
        after_calls = _rss_bytes()
        await listeners(100_000)
        await asyncio.sleep(1)
        gc.collect()
        after_listeners = _rss_bytes()
        print(f"rss MiB: {before >> 20} -> {after_calls >> 20} -> {after_listeners >> 20}")
        assert tombolo.live_object_count() == before_count
        assert after_calls - before < 16 << 20 and after_listeners - after_calls < 32 << 20
        await replica.close()

    asyncio.run(story())


def test_roles_are_those_of_the_protocol() -> None:
    assert [role.name for role in Role] == ["CARRIER", "READER", "COMMENTER", "WRITER", "ADMIN", "OWNER"]
