# SPDX-License-Identifier: Apache-2.0
"""`mtquant search`, and the flags that choose the algorithm of phase 1."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mtquant.cli import main
from mtquant.core.config import load_config
from mtquant.core.errors import ConfigError, MtquantError, RunError
from tests.support.markets import TINY, market_settings, write_market


def run(*arguments: str) -> str:
    """Output of `mtquant` with these arguments in a pipe; its own errors are raised."""
    done = CliRunner(env={"COLUMNS": "160"}).invoke(main.app, arguments)
    if isinstance(done.exception, MtquantError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_grid_from_end_to_end(tmp_path: Path) -> None:
    folder, out = write_market(tmp_path / "bars"), tmp_path / "search"
    symbols = ("EURUSD",)
    texts = (*market_settings(folder, symbols), *TINY)
    command = ["search", "--method", "grid", "--param", "training.gamma=[0.9, 0.95]"]
    command += ["--timesteps", "512", "--output-dir", str(out)]
    command += [part for text in texts for part in ("--set", text)]
    said = run(*command)
    assert re.search(r"The best of 2\s+candidates\s+on\s+the\s+validation\s+rows", said)
    assert "training.gamma" in said
    assert f"best          {out / 'best.yaml'}\n" in said
    assert f"trials        {tmp_path / 'trials'} (2 in all)\n" in said
    best = load_config(out / "best.yaml")
    assert best.training.gamma in (0.9, 0.95)
    assert best.training.phase_1_timesteps == 512
    again = run(*command)  # nothing is left to run
    table = r"candidate[\s\S]*"
    assert re.findall(table, again) == re.findall(table, said)
    with pytest.raises(RunError, match=r"metric of .* must be that of the search"):
        run(*command, "--metric", "drawdown")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "--param", "training.gamma=[0.9]"], "--candidates must be given"),
        (["search", "--param", "training.gamma=0.9"], "must list values or name a range"),
        (["search", "--param", "a.b=[1]", "--candidates", "1"], "a is not a known key"),
        (["train", "phase1", "--algorithm", "sac"], r"must be ppo.*Use --engine sb3"),
        (["train", "phase1", "--engine", "fast"], r"training\.engine must be 'stacked' or 'sb3'"),
        (["train", "phase1", "--engine", "sb3", "--algorithm", "dqn"], r"training\.algorithm"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        run(*arguments, "--output-dir", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
