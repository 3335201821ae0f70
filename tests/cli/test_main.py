# SPDX-License-Identifier: Apache-2.0
"""The command line: quick help, errors in one line, and a tiny run from end to end."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import mtquant.workflows.backtest_report as backtest_report
from mtquant.cli import main
from mtquant.core.config import Config, load_config
from mtquant.core.errors import CheckpointError, ConfigError, MtquantError, RunError
from tests.support.markets import TINY, market_settings, write_market

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "run_phase1_training.py"
COMMAND = "from mtquant.cli.main import main; main()"


ENVIRONMENT = {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in the repository and returns what it said."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, env=ENVIRONMENT
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


def test_python_can_run_the_package() -> None:
    done = python("-m", "mtquant", "--help")
    assert done.returncode == 0, done.stderr
    assert "mtquant [OPTIONS] COMMAND" in done.stdout


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
    "arguments",
    [
        ["train", "phase1", "--set", "a.b=1"],
        ["train", "phase1", "--instruments", "none.yaml"],
        ["backtest", "--config", "none.yaml"],
        ["backtest", "--models", "none"],
        ["demo", "--set", "a.b=1"],
    ],
)
def test_settings_are_checked_before_anything_heavy_is_loaded(arguments: list[str]) -> None:
    code = (
        f"import sys; sys.argv[1:] = {arguments!r}\n"
        "from mtquant.cli.main import main\n"
        "try: main()\n"
        "finally: print({'torch', 'numba', 'pandas', 'mtquant.workflows'} & set(sys.modules))"
    )
    done = python("-c", code)
    assert done.returncode == 2
    assert done.stdout == "set()\n"
    assert len(done.stderr.splitlines()) == 1


def test_our_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise ConfigError("a.b", "must be c", 1, "Do d.")

    with pytest.raises(SystemExit) as ended:
        main.run_app(command)  # type: ignore[arg-type]
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: a.b must be c; found 1. Do d.\n"


@pytest.mark.parametrize(
    ("workflow", "arguments", "said"),
    [
        (
            "training.train_phase",
            ["train", "phase1", "--output-dir", "some/models"],
            "interrupted; checkpoints are in some/models; --resume goes on from there\n",
        ),
        (
            "backtest_report.backtest",
            ["backtest", "--config", "config/agents.yaml"],
            "interrupted; the report was not written\n",
        ),
    ],
)
def test_an_interrupt_says_what_is_kept(workflow: str, arguments: list[str], said: str) -> None:
    """The workflow is one that waits for Ctrl-C."""
    module, function = workflow.split(".")
    code = (
        "import signal, sys, time, types\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background
        "def waits(*arguments, **options):\n"
        "    print('waiting', flush=True)\n"
        "    time.sleep(60)\n"
        f"stub = types.ModuleType('stub'); stub.{function} = waits\n"
        f"sys.modules['mtquant.workflows.{module}'] = stub\n"
        f"sys.argv[1:] = {arguments!r}\n"
        f"{COMMAND}"
    )
    pipe = subprocess.PIPE
    started = [sys.executable, "-c", code]
    with subprocess.Popen(
        started, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert next(lines).startswith("configuration config/agents.yaml")
        assert any("waiting" in line for line in lines)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, said)


def test_other_exceptions_keep_their_traceback() -> None:
    def command() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        main.run_app(command)  # type: ignore[arg-type]


def run(*arguments: str) -> str:
    """Output of `mtquant` with these arguments in a pipe; its own errors are raised."""
    done = CliRunner(env={"COLUMNS": "80"}).invoke(main.app, arguments)
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
    assert text.startswith(f"# configuration {file} and --set environment.fill_at=close\n")


def test_a_file_in_its_usual_place_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("config").startswith("# configuration built-in defaults\n")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "agents.yaml").write_text("training:\n  seed: 3\n")
    text = run("config")
    assert text.startswith("# configuration config/agents.yaml\n")
    assert yaml.safe_load(text)["training"]["seed"] == 3


def test_a_backtest_needs_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"card\.json must be the report card of a training"):
        run("backtest", "--models", str(tmp_path))


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
        monkeypatch.setattr(backtest_report, view, lambda *arguments: {})
    folder = write_market(tmp_path / "bars")
    settings = [part for text in (*market_settings(folder), *TINY) for part in ("--set", text)]
    models, logs, out = (tmp_path / name for name in ("models", "logs", "backtest"))
    train = ["train", "phase1", "--timesteps", "512", "--log-dir", str(logs), *settings]
    trained = run(*train, "--output-dir", str(models))
    assert trained.startswith("configuration config/agents.yaml and --set data.source=parquet ")
    assert f"models        {models}\n" in trained
    assert "Phase 1: kept specialists on the validation rows" in trained
    assert len(re.findall(r"(weights|ledger) hash\s+[0-9a-f]{64}", trained)) == 2
    assert (logs / "training.log").exists()
    with pytest.raises(RunError, match=r"models must not hold an earlier run"):
        run(*train, "--output-dir", str(models))

    # The specialists' own settings are in their card.
    traded = run("backtest", "--models", str(models), "--output", str(out), "--scenarios", "0")
    assert traded.startswith(f"configuration {models / 'card.json'}\n")
    assert f"report        {out / 'report.html'}\n" in traded
    assert "largest relative difference" in traded
    hashes = re.findall(r"weights hash\s+(EURUSD|GBPUSD) [0-9a-f]{64}", traded)
    assert hashes == ["EURUSD", "GBPUSD"]
    assert re.search(r"ledger hash\s+[0-9a-f]{64}", traded)
    assert "specialists" in traded
    assert (out / "report.html").exists()
