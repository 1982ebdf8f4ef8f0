"""What a call, a read, an edit and an event cost in Python; the same as in the other languages, and as often."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import tombolo

_BATCHES = 10
_LARGE_BYTES = 1 << 20


async def report(folder: Path, words: list[str]) -> None:
    """Times what the words name, each with how often; prints ``time NAME NANOSECONDS`` for each."""
    quick, document = await _opened(folder / "process", tombolo.Durability.PROCESS)
    slow, durable = await _opened(folder / "power", tombolo.Durability.POWER)
    async with document.edit() as edit:
        edit["title"] = "Reef survey"
        edit["large"] = "x" * _LARGE_BYTES
    for what, count in zip(words[::2], map(int, words[1::2]), strict=True):
        print("time", what, await _one(what, count, document, durable), flush=True)
    await slow.close()
    await quick.close()


async def _opened(path: Path, durability: tombolo.Durability) -> tuple[tombolo.Replica, tombolo.Document]:
    replica = await tombolo.Replica.open(path, durability=durability)
    workspace = await replica.create_workspace("things")
    return replica, await workspace.create_document(tombolo.Crdt.YRS)


async def _one(what: str, count: int, document: tombolo.Document, durable: tombolo.Document) -> int:
    async def call(_: int) -> None:
        document.id()

    async def put(turn: int, into: tombolo.Document = document) -> None:
        async with into.edit() as edit:
            edit["n"] = turn

    if what == "event":
        async with await document.watch() as events:
            await anext(events)

            async def hear(turn: int) -> None:
                await put(turn)
                await anext(events)

            return await _median(count, hear)
    timed: dict[str, Callable[[int], Awaitable[object]]] = {
        "call": call,
        "read": lambda _: document.read("title"),
        "read-large": lambda _: document.read("large"),
        "edit": put,
        "edit-durable": lambda turn: put(turn, durable),
    }
    return await _median(count, timed[what])


async def _median(count: int, call: Callable[[int], Awaitable[object]]) -> int:
    """Makes a call so often, and returns the nanoseconds of one in the batch in the middle."""
    size, batches = count // _BATCHES, []
    for batch in range(_BATCHES):
        began = time.perf_counter_ns()
        for turn in range(size):
            await call(batch * size + turn)
        batches.append((time.perf_counter_ns() - began) // size)
    return sorted(batches)[_BATCHES // 2]
