# SPDX-License-Identifier: Apache-2.0
"""A specialist on disk: the same weights come back, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mtquant.agents.specialist import (
    MANIFEST_NAME,
    WEIGHTS_NAME,
    Specialist,
    load_specialist,
    save_specialist,
)
from mtquant.core.errors import CheckpointError, PolicyError
from mtquant.core.protocols import Observation, Policy
from tests.support.markets import walk_world
from tests.support.specialists import constant_weights, manifest_of

WORLD = walk_world()
SIZE = len(WORLD.manifest()["observation_names"])


def saved(folder: Path, action: float = 0.5) -> Specialist:
    save_specialist(folder, constant_weights(SIZE, action), manifest_of(WORLD))
    return load_specialist(folder)


def test_weights_and_manifest_come_back(tmp_path: Path) -> None:
    weights = constant_weights(SIZE, 0.25)
    manifest = save_specialist(tmp_path / "new" / "EURUSD", weights, manifest_of(WORLD))
    specialist = load_specialist(tmp_path / "new" / "EURUSD")
    assert specialist.manifest == manifest
    assert set(specialist.weights) == set(weights)
    for name, tensor in weights.items():
        assert specialist.weights[name].numpy().tobytes() == tensor.numpy().tobytes(), name
    assert sorted(path.name for path in (tmp_path / "new" / "EURUSD").iterdir()) == [
        MANIFEST_NAME,
        WEIGHTS_NAME,
    ]


def test_the_same_weights_are_the_same_file(tmp_path: Path) -> None:
    weights = constant_weights(SIZE, 0.25)
    turned = dict(reversed(list(weights.items())))
    first = save_specialist(tmp_path / "a", weights, manifest_of(WORLD))
    second = save_specialist(tmp_path / "b", turned, manifest_of(WORLD))
    assert first.weights_sha256 == second.weights_sha256
    files = [(tmp_path / name / WEIGHTS_NAME).read_bytes() for name in "ab"]
    assert files[0] == files[1]


def test_tampered_weights_are_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    file = tmp_path / WEIGHTS_NAME
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # one bit of the last weight
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"safetensors must match the manifest's sha256"):
        load_specialist(tmp_path)


@pytest.mark.parametrize("name", [MANIFEST_NAME, WEIGHTS_NAME])
def test_a_missing_file_points_to_phase_1(tmp_path: Path, name: str) -> None:
    saved(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointError, match=r"must hold a specialist.*Train phase 1 first"):
        load_specialist(tmp_path)


@pytest.mark.parametrize("change", [{"symbols": None}, {"another": 1}])
def test_a_manifest_of_other_fields_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    saved(tmp_path)
    file = tmp_path / MANIFEST_NAME
    stored = {**json.loads(file.read_text()), **change}
    file.write_text(json.dumps({key: value for key, value in stored.items() if value is not None}))
    with pytest.raises(CheckpointError, match="must hold a specialist"):
        load_specialist(tmp_path)


def test_a_damaged_manifest_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / MANIFEST_NAME).write_text('{"symbol": "EUR')
    with pytest.raises(CheckpointError, match="must hold a specialist"):
        load_specialist(tmp_path)


def observation(symbols: tuple[str, ...] = ("EURUSD",), size: int = SIZE) -> Observation:
    names = tuple(f"entry {k}" for k in range(size))
    return Observation(np.zeros(size, dtype=np.float32), 0, symbols, names)


def test_its_answer_is_an_exposure(tmp_path: Path) -> None:
    specialist = saved(tmp_path, action=0.5)
    assert isinstance(specialist, Policy)
    targets, state = specialist.act(observation(), specialist.initial_state())
    # action 0.5 x unit 0.1, the default max_position_size
    assert targets.tolist() == [0.05]
    assert state is None


def test_its_action_stays_within_one(tmp_path: Path) -> None:
    for action, expected in ((7.0, 1.0), (-7.0, -1.0)):
        specialist = saved(tmp_path, action)
        assert specialist.action(np.zeros(SIZE, dtype=np.float32)).tolist() == [expected]


def test_another_instruments_observation_is_refused(tmp_path: Path) -> None:
    specialist = saved(tmp_path)
    with pytest.raises(PolicyError, match=r"must be of EURUSD alone.*SpecialistEnsemble"):
        specialist.act(observation(("GBPUSD",)), None)
    with pytest.raises(PolicyError, match="must be of EURUSD alone"):
        specialist.act(observation(("EURUSD", "GBPUSD")), None)


def test_an_observation_of_another_size_is_refused(tmp_path: Path) -> None:
    specialist = saved(tmp_path)
    with pytest.raises(PolicyError, match=rf"observation of EURUSD must hold {SIZE} entries"):
        specialist.act(observation(size=SIZE + 1), None)


def test_an_action_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    specialist = saved(tmp_path, action=np.nan)
    with pytest.raises(PolicyError, match=r"action of EURUSD must be finite.*earlier checkpoint"):
        specialist.action(np.zeros(SIZE, dtype=np.float32))


def test_an_observation_with_nan_is_refused(tmp_path: Path) -> None:
    weights = constant_weights(SIZE, 0.0)
    weights["mlp_extractor.policy_net.0.weight"][:] = 1.0
    weights["action_net.weight"][:] = 1.0
    save_specialist(tmp_path, weights, manifest_of(WORLD))
    values = np.zeros(SIZE, dtype=np.float32)
    values[3] = np.nan
    with pytest.raises(PolicyError, match="must be finite"):
        load_specialist(tmp_path).action(values)
