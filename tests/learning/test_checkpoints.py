# SPDX-License-Identifier: Apache-2.0
"""The checkpoint store: what comes back, what stays, damage, kills and full disks."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core.errors import CheckpointError
from mtquant.learning.checkpoints import MANIFEST_NAME, STATE_NAME, CheckpointStore
from tests.support.kills import Faults, Program
from tests.support.permissions import read_only

BEST = {"sharpe": True, "drawdown": False}
MOST_OPERATIONS = 60


def arrays(step: int) -> dict[str, np.ndarray]:
    return {"weights": np.full(3, step, dtype=np.float32), "clock": np.array(step)}


def saved(store: CheckpointStore, step: int, **metrics: float) -> None:
    store.save(step, arrays(step), {"metrics": metrics})


def steps(store: CheckpointStore) -> list[int]:
    return [store.read(path).step for path in store.paths()]


def test_the_newest_comes_back_to_the_byte(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "run")
    assert store.newest() is None
    for step in (256, 512, 1_024):
        facts = {"name": "EURUSD", "score": float("nan"), "by_phase": {2: "b", 10: "a"}}
        store.save(step, arrays(step), facts)
    found = store.newest()
    assert found is not None
    assert found.step == 1_024
    assert found.arrays["weights"].dtype == np.float32
    assert found.arrays["weights"].tobytes() == arrays(1_024)["weights"].tobytes()
    assert found.facts["name"] == "EURUSD"
    assert found.facts["by_phase"] == {"2": "b", "10": "a"}
    assert steps(store) == [512, 1_024]


SCORE = st.sampled_from([0.0, 0.5, 1.0, float("nan")])


@given(scores=st.lists(st.tuples(SCORE, SCORE), max_size=9))
@settings(max_examples=40, deadline=None)
def test_the_best_stay_beside_the_newest(
    scores: list[tuple[float, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As one finds it by looking at all of them at once; equals are kept in order of time."""
    store = CheckpointStore(tmp_path_factory.mktemp("best") / "run", best_by=BEST, keep_best=2)
    for step, (sharpe, drawdown) in enumerate(scores):
        saved(store, step, sharpe=sharpe, drawdown=drawdown)
    expected = set(range(len(scores))[-2:])
    for column, (metric, sign) in enumerate((("sharpe", -1.0), ("drawdown", 1.0))):
        numbers = [(sign * own[column], step) for step, own in enumerate(scores)]
        order = [step for value, step in sorted(n for n in numbers if n[0] == n[0])]
        expected |= set(order[:2])
        found = store.best(metric)
        assert (None if found is None else found.step) == (order[0] if order else None)
    assert steps(store) == sorted(expected)


def test_only_what_is_kept_can_be_asked_for(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, best_by=BEST)
    with pytest.raises(CheckpointError, match=r"whose best checkpoints are kept \(sharpe, draw"):
        store.best("turnover")


def test_a_run_that_went_back_replaces_what_it_comes_by_again(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    store.save(256, arrays(256), {"try": 1})
    store.save(256, arrays(256), {"try": 2})
    found = store.newest()
    assert found is not None
    assert found.facts == {"try": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000000256"]


@pytest.mark.parametrize("name", [STATE_NAME, MANIFEST_NAME])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "list", "number"])
def test_a_damaged_one_is_named_and_passed_over(
    name: str, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = CheckpointStore(tmp_path, best_by=BEST)
    saved(store, 256, sharpe=0.5, drawdown=0.1)
    saved(store, 512, sharpe=1.0, drawdown=0.2)
    path = store.paths()[-1]
    content = bytearray((path / name).read_bytes())
    if damage == "flip":
        content[-20] ^= 1
    (path / name).write_bytes(content if damage == "flip" else content[: len(content) // 2])
    if damage == "gone":
        (path / name).unlink()
    if damage in ("list", "number"):
        (path / name).write_text('["no", "manifest"]' if damage == "list" else "7")
    for ask in (store.newest, lambda: store.best("sharpe")):
        found = ask()
        assert found is not None
        assert found.step == 256
        assert "step_000000000512 is damaged and passed over" in caplog.text
        caplog.clear()
    with pytest.raises(CheckpointError, match="must be a whole checkpoint"):
        store.read(path)
    shutil.rmtree(store.paths()[0])
    with pytest.raises(CheckpointError, match=r"must hold a whole checkpoint.*512"):
        store.newest()


WRITER = """
from pathlib import Path
import numpy as np
from mtquant.learning.checkpoints import CheckpointStore
store = CheckpointStore(Path("run"), best_by={"sharpe": True})
found = store.newest()
for step, sharpe in ((1, 0.9), (2, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)):
    if found is None or step >= found.step:
        facts = {"metrics": {"sharpe": sharpe}}
        store.save(step, {"weights": np.full(3, step, dtype=np.float32)}, facts)
"""


def test_killed_before_any_file_operation_it_loses_nothing(tmp_path: Path) -> None:
    """Every run goes on where the one before was killed; what is there is whole at all times."""
    before = 0
    for ended in itertools.islice(
        Program(("-c", WRITER), tmp_path).kill_at_every_operation("/run"), MOST_OPERATIONS
    ):
        store = CheckpointStore(tmp_path / "run", best_by={"sharpe": True})
        found = store.newest()
        now = 0 if found is None else found.step
        assert now >= before
        before = now
        assert ended.killed or ended.code == 0, ended.stderr
    assert not ended.killed
    assert steps(store) == [1, 3, 4]
    assert {path.name for path in store.folder.iterdir()} == {path.name for path in store.paths()}


def test_a_disk_that_fills_names_the_folder_and_loses_nothing(tmp_path: Path) -> None:
    program = Program(("-c", WRITER), tmp_path)
    assert program.run().code == 0
    shutil.copytree(tmp_path / "run", tmp_path / "kept")
    ended = program.run(Faults("full", "/run", at=1))
    assert ended.code != 0
    assert "must have room for a checkpoint" in ended.stderr
    assert "Free space" in ended.stderr
    for path in (tmp_path / "kept").iterdir():
        for file in path.iterdir():
            assert (tmp_path / "run" / path.name / file.name).read_bytes() == file.read_bytes()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    with read_only(closed), pytest.raises(CheckpointError, match="closed must have room"):
        CheckpointStore(closed).save(1, arrays(1), {})


def test_the_manifest_is_there_to_be_read(tmp_path: Path) -> None:
    path = CheckpointStore(tmp_path).save(7, arrays(7), {"metrics": {"sharpe": 0.5}})
    manifest = json.loads((path / MANIFEST_NAME).read_text())
    assert (manifest["step"], manifest["facts"]) == (7, {"metrics": {"sharpe": 0.5}})
