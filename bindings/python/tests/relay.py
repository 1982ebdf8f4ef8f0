"""A relay as a process of its own."""

import os
import subprocess
from pathlib import Path


class Relay:
    """A relay; killed as a power cut would, and started again at its address."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        self.address = "ws://127.0.0.1:0"
        self.start()

    def start(self) -> None:
        listen = self.address.removeprefix("ws://")
        words: list[str | Path] = [self._program, "serve", "--listen", listen, "--admin-listen", "127.0.0.1:0"]
        words += ["--log-level", "error", "--data", self._folder]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TOMBOLO_RELAY_")}
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=kept)
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("listening on "):
                self.address = line.removeprefix("listening on ").strip()
                return
        raise AssertionError("the relay did not say where it listens")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
