"""One device of a test in which several languages take part: steps come in, one a line, and what was named goes out.

``learn KIND NAME VALUE`` in either direction; after each other line, ``done``, or ``failed`` and why. With ``time``, names and
counts it times calls instead.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

import timing
from scenario import PATIENCE_S, Stage, cut


async def main(words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if words[:1] == ["time"]:
            await timing.report(Path(folder), words[1:])
            return
        stage = Stage(Path(folder), None)
        stage.told = lambda kind, name, value: print("learn", kind, name, value, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            words = cut(line)
            if words[0] == "learn":
                stage.learn(*words[1:])
                continue
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await stage.step(words)
                print("done", flush=True)
            except Exception as error:
                print("failed:", repr(error).replace("\n", " "), flush=True)
        await stage.end()


asyncio.run(main(sys.argv[1:]))
