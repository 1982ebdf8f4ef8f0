"""Two devices share notes through a relay: `python two_devices.py ws://127.0.0.1:8080`.

Start one first: `tombolo-relay serve --listen 127.0.0.1:8080 --data relay`.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import tombolo


async def main(relay: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ann = await tombolo.Replica.open(Path(folder) / "ann.tombolo")
        ben = await tombolo.Replica.open(Path(folder) / "ben.tombolo")
        async with ann, ben, asyncio.timeout(60):
            workspace = await ann.create_workspace("Field notes")
            document = await workspace.create_document(tombolo.Crdt.YRS)
            async with document.edit() as edit:  # no network yet
                edit.text("body").append("Low tide at six.")

            await ann.dial(relay)
            await document.wait_for()  # a relay has it
            invite = await workspace.invite(tombolo.Role.WRITER)

            await ben.dial(relay)
            shared = await ben.join(invite)
            await shared.ready()
            async with await ben.events() as events:  # first how things stand, then what happens
                async for _ in events:
                    if found := await shared.documents():
                        break
            theirs = ben.document(found[0].id)
            async with await theirs.watch() as changes:
                async for _ in changes:
                    if await theirs.read("body"):
                        break
            async with theirs.edit() as edit:
                edit.text("body").append(" Bring boots.")
            await theirs.seen_by((await ann.identity()).device)
            print(await document.read("body"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("Name a relay: two_devices.py ws://127.0.0.1:8080")
    asyncio.run(main(sys.argv[1]))
