"""The scenarios that all languages run alike."""

import asyncio

import pytest
from scenario import Scenario, Stage, read


@pytest.mark.parametrize("scenario", read(), ids=lambda scenario: f"{scenario.name} {scenario.crdt}".strip())
def test_scenario(scenario: Scenario, tmp_path, relays):
    asyncio.run(Stage(tmp_path, relays).play(scenario))
