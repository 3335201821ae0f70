# SPDX-License-Identifier: Apache-2.0
"""The command line: quick help, errors in one line, and a tiny run from end to end."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import mtquant.workflows.backtesting as backtesting
from mtquant.cli import main
from mtquant.core.config import Config, load_config
from mtquant.core.errors import ConfigError, MtquantError
from tests.support.markets import TINY, market_settings, write_market

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "run_phase1_training.py"
COMMAND = "from mtquant.cli.main import main; main()"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in the repository and returns what it said."""
    environment = {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, env=environment
    )


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mtquant.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print({'numpy', 'torch', 'pandas', 'numba', 'pydantic'} & set(sys.modules))"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
    for command in ("train", "backtest", "demo", "config"):
        assert command in done.stdout


def test_an_unknown_key_is_one_line_with_the_nearest() -> None:
    done = python("-c", COMMAND, "config", "--set", "training.bach_size=3")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line == (
        "error: training.bach_size is not a known key; found 3. Did you mean training.batch_size?"
    )


def test_the_scripts_flags_are_the_specs() -> None:
    done = python(str(SCRIPT), "--help")
    assert done.returncode == 0, done.stderr
    for flag in ("--config", "--timesteps", "--output-dir", "--log-dir", "--device"):
        assert flag in done.stdout


def test_the_script_fails_in_one_line_too(tmp_path: Path) -> None:
    done = python(str(SCRIPT), "--config", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / 'none.yaml'} must be a readable file")


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (ConfigError("a.b", "must be c", 1, "Do d."), 2, "error: a.b must be c; found 1. Do d."),
        (KeyboardInterrupt(), 130, "interrupted; what was finished is kept"),
    ],
)
def test_exit_codes(
    raised: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise raised

    with pytest.raises(SystemExit) as ended:
        main.run_app(command)  # type: ignore[arg-type]
    assert ended.value.code == code
    assert text in capsys.readouterr().err


def test_other_exceptions_keep_their_traceback() -> None:
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main.run_app(command)  # type: ignore[arg-type]


def run(*arguments: str) -> str:
    """Output of `mtquant` with these arguments; its own errors are raised."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(main.app, arguments)
    if isinstance(done.exception, MtquantError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_config_prints_what_is_in_force(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("training:\n  seed: 3\n")
    text = run("config", "--config", str(file), "--set", "environment.fill_at=close")
    printed = Config.model_validate(yaml.safe_load(text))
    assert printed == load_config(file, ["environment.fill_at=close"])
    assert printed.training.seed == 3


def test_flags_are_checked() -> None:
    for arguments in (["train", "phase1", "--timesteps", "0"], ["backtest", "--part", "train"]):
        done = CliRunner().invoke(main.app, arguments)
        assert done.exit_code == 2
        assert "Invalid value" in done.output


def test_an_unknown_device_is_an_error_of_ours(tmp_path: Path) -> None:
    folders = ["--output-dir", str(tmp_path / "m"), "--log-dir", str(tmp_path / "l")]
    with pytest.raises(ConfigError, match="device must be one of auto, cpu, cuda; found 'gpu'"):
        run("train", "phase1", "--device", "gpu", *folders)


def test_train_and_backtest_from_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # vectorbt's tables and plots compile for 20 s and are tested in tests/backtest and
    # tests/workflows; the audit is the real one.
    for view in ("vectorbt_tables", "vectorbt_figures"):
        monkeypatch.setattr(backtesting, view, lambda *arguments: {})
    folder = write_market(tmp_path / "bars")
    settings = [part for text in (*market_settings(folder), *TINY) for part in ("--set", text)]
    models, logs, out = (tmp_path / name for name in ("models", "logs", "backtest"))
    trained = run(
        "train",
        "phase1",
        "--timesteps",
        "512",
        "--output-dir",
        str(models),
        "--log-dir",
        str(logs),
        *settings,
    )
    assert "Phase 1: kept checkpoints on the validation rows" in trained
    assert len(re.findall(r"(weights|ledger) hash\s+[0-9a-f]{64}", trained)) == 2
    assert (logs / "training.log").exists()

    traded = run("backtest", "--models", str(models), "--output", str(out), *settings)
    assert "largest relative difference" in traded
    hashes = re.findall(r"weights hash\s+(EURUSD|GBPUSD) [0-9a-f]{64}", traded)
    assert hashes == ["EURUSD", "GBPUSD"]
    assert re.search(r"ledger hash\s+[0-9a-f]{64}", traded)
    assert "specialists" in traded
    assert (out / "report.html").exists()
