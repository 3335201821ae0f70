# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import math
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from mtquant.core.telemetry import METRICS, SETTINGS, Telemetry, read_scalars
from tests.support.kills import Program

ROOT = Path(__file__).resolve().parents[2]


def read(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


def test_tensorboard_reads_back_what_was_written(tmp_path):
    with Telemetry(tmp_path) as board:
        board.scalar("train/loss", 0.5, 0)
        board.scalars({"train/loss": np.float32(0.25), "time/fps": 81_000}, 2**33)
        board.text("config", "**seed** 7", 0)
    events = read(tmp_path)
    assert events.Tags()["scalars"] == ["train/loss", "time/fps"]
    # Steps beyond 32 bits survive; the values are exact in float32.
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(0, 0.5), (2**33, 0.25)]
    (text,) = events.Tensors("config/text_summary")
    assert list(text.tensor_proto.string_val) == [b"**seed** 7"]


def test_curves_are_read_back_in_the_order_of_steps(tmp_path):
    assert read_scalars(tmp_path / "none") == {}
    with Telemetry(tmp_path) as board:
        board.scalars({"train/loss": 0.5, "train/std": 1.0}, 10)
        board.scalar("train/loss", 0.25, 20)
        board.text("config", "no number", 0)
    with Telemetry(tmp_path) as board:  # another run into the same folder: the latest counts
        board.scalar("train/loss", 0.75, 10)
        board.scalar("train/loss", 0.125, 15)
    found = read_scalars(tmp_path)
    assert found == {
        "train/loss": ([10, 15, 20], [0.75, 0.125, 0.25]),
        "train/std": ([10], [1.0]),
    }


def test_numbers_that_are_not_finite_are_written_and_reported_once(tmp_path, caplog):
    with caplog.at_level(logging.WARNING), Telemetry(tmp_path) as board:
        for step in range(3):
            board.scalars({"train/loss": math.nan, "train/std": 1.0}, step)
        board.scalar("train/value_loss", math.inf, 3)
    assert len(read(tmp_path).Scalars("train/loss")) == 3
    assert math.isnan(read(tmp_path).Scalars("train/loss")[0].value)
    assert [record.getMessage() for record in caplog.records] == [
        "train/loss is nan at step 0",
        "train/value_loss is inf at step 3",
    ]


def test_settings_stand_there_once_also_in_a_run_that_goes_on(tmp_path):
    own = {"learning_rate": 3e-4, "preset": "spec", "curriculum_learning": False}
    with Telemetry(tmp_path) as board:
        board.settings(own)
        board.scalar("train/loss", 0.5, 10)
    with Telemetry(tmp_path, resumed_at=5) as board:
        board.settings({**own, "preset": "recommended"})  # it goes on under what it began with
        board.scalar("train/loss", 0.25, 10)
    (held,) = tmp_path.glob("*tfevents*")
    found = [
        value.metadata.plugin_data.content
        for event in EventFileLoader(str(held)).Load()
        for value in event.summary.value
        if value.tag == SETTINGS
    ]
    assert len(found) == 1
    begun = HParamsPluginData.FromString(found[0]).session_start_info.hparams
    assert begun["learning_rate"].number_value == 3e-4
    assert begun["preset"].string_value == "spec"
    assert begun["curriculum_learning"].bool_value is False


def test_flush_makes_events_visible_before_the_end(tmp_path):
    board = Telemetry(tmp_path)
    board.scalar("train/loss", 1.0, 0)
    board.flush()
    assert len(read(tmp_path).Scalars("train/loss")) == 1
    board.close()


def points(folder: Path) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars("train/loss")]


def test_a_run_that_goes_on_forgets_what_was_behind_its_step(tmp_path):
    with Telemetry(tmp_path) as board:
        for step in range(5):
            board.scalar("train/loss", float(step), step)
    with Telemetry(tmp_path, resumed_at=2) as board:
        board.scalar("train/loss", 30.0, 3)
    assert points(tmp_path) == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 30.0)]


def test_killed_at_any_file_operation_no_point_stands_twice(tmp_path):
    """Two earlier files, and a run that is killed again and again while it takes them over."""
    logs = tmp_path / "logs"
    for first in (0, 3):
        with Telemetry(logs) as board:
            for step in range(first, first + 3):
                board.scalar("train/loss", float(step), step)
    code = (
        "from pathlib import Path; from mtquant.core.telemetry import Telemetry\n"
        "with Telemetry(Path('logs'), resumed_at=4) as board:\n"
        "    board.scalar('train/loss', 50.0, 5)"
    )
    program = Program(("-c", code), tmp_path)
    # Where points double with every kill, it never gets to its end.
    runs = list(islice(program.kill_at_every_operation("tfevents"), 30))
    assert sum(run.killed for run in runs) > 2
    assert not runs[-1].killed
    assert runs[-1].code == 0, runs[-1].stderr
    assert points(logs) == [*((step, float(step)) for step in range(5)), (5, 50.0)]


def test_writing_loads_neither_torch_nor_tensorflow(tmp_path):
    code = (
        "import sys; from pathlib import Path; from mtquant.core.telemetry import Telemetry\n"
        "with Telemetry(Path(sys.argv[1])) as board: board.scalar('train/loss', 1.0, 0)\n"
        "print({'torch', 'tensorflow', 'pandas'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_metric_dictionary_explains_every_name():
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z]+/[a-z_]+)` \|(.*)\|(.*)\|(.*)\|$", page, flags=re.MULTILINE)
    assert [name for name, *_ in rows] == list(METRICS)
    assert all(cell.strip() for row in rows for cell in row)
    for report_metric in ("Sharpe", "Sortino", "Calmar", "max drawdown", "win rate", "turnover"):
        assert f"\n| {report_metric} |" in page
