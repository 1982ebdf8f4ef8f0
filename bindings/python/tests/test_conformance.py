"""The scenarios that all languages run alike."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from relay import Relay
from scenario import Scenario, Stage, read


@pytest.mark.parametrize("scenario", read(), ids=lambda scenario: f"{scenario.name} {scenario.crdt}".strip())
def test_scenario(scenario: Scenario, tmp_path: Path, relays: Callable[[], Relay]) -> None:
    asyncio.run(Stage(tmp_path, relays).play(scenario))
