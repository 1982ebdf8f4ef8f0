"""What the suites share: a relay as a process of its own, and the tests that only run when asked for."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run what takes minutes as well")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="only with --slow"))


class Relay:
    """A relay; killed as a power cut would, and started again at its address."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder, self._process = program, folder, None
        self.address = "ws://127.0.0.1:0"
        self.start()

    def start(self) -> None:
        listen = self.address.removeprefix("ws://")
        words = [self._program, "serve", "--listen", listen, "--admin-listen", "127.0.0.1:0"]
        words += ["--log-level", "error", "--data", self._folder]
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TOMBOLO_RELAY_")}
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=kept)
        for line in self._process.stdout:
            if line.startswith("listening on "):
                self.address = line.removeprefix("listening on ").strip()
                return
        raise AssertionError("the relay did not say where it listens")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="session")
def relay_program() -> Path:
    found = os.environ.get("TOMBOLO_RELAY") or shutil.which("tombolo-relay")
    if not found:
        pytest.fail("no relay: build one with `cargo build -p tombolo-relay`, and name it in TOMBOLO_RELAY")
    return Path(found)


@pytest.fixture
def relays(relay_program, tmp_path):
    """Starts relays, and kills them when the test is over."""
    started = []

    def start() -> Relay:
        started.append(Relay(relay_program, tmp_path / f"relay-{len(started)}"))
        return started[-1]

    yield start
    for relay in started:
        relay.kill()
