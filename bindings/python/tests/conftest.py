"""What the suites share: relays, and the tests that only run when asked for."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from relay import Relay


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run what takes minutes as well")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="only with --slow"))


@pytest.fixture(scope="session")
def relay_program() -> Path:
    found = os.environ.get("TOMBOLO_RELAY") or shutil.which("tombolo-relay")
    if not found:
        pytest.fail("no relay: build one with `cargo build -p tombolo-relay`, and name it in TOMBOLO_RELAY")
    return Path(found)


@pytest.fixture
def relays(relay_program: Path, tmp_path: Path) -> Iterator[Callable[[], Relay]]:
    """Starts relays, and kills them when the test is over."""
    started: list[Relay] = []

    def start() -> Relay:
        started.append(Relay(relay_program, tmp_path / f"relay-{len(started)}"))
        return started[-1]

    yield start
    for relay in started:
        relay.kill()
