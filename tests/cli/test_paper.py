# SPDX-License-Identifier: Apache-2.0
"""`mtquant paper` from a shell: run, status, halt, resume, promote, rollback, export."""

from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mtquant.cli.main import app
from mtquant.core.errors import ConfigError
from mtquant.core.runs import RunFolder
from mtquant.paper import opening
from mtquant.paper.loop import PaperLoop
from mtquant.paper.reading import market_ledger, reader, table
from mtquant.workflows import paper
from mtquant.workflows.backtesting import Market, trade
from mtquant.workflows.models import load_trained
from mtquant.workflows.paper import PaperPlan, paper_loop, training_range
from tests.support.markets import INSTRUMENTS, SYMBOLS, tiny_config, tiny_trainer, write_market
from tests.support.paper import CALM

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with bars and phase 1 specialists."""
    folder = tmp_path_factory.mktemp("paper")
    write_market(folder)
    config = tiny_config(folder, *CALM)
    trainer = tiny_trainer(config, folder)
    for symbol in SYMBOLS:
        trainer.train_specialist(symbol)
    RunFolder.create(folder / "models", config=config, seed=0)
    shutil.copytree(folder / "models", folder / "newer")
    return folder, config


def invoke(*arguments: object, code: int = 0) -> str:
    result = RUNNER.invoke(app, ["paper", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def test_a_trained_model_replayed_on_paper_is_its_backtest(trained, tmp_path):
    folder, config = trained
    plan = PaperPlan(tmp_path / "a.sqlite", folder / "models")
    loop = paper_loop(config, INSTRUMENTS, plan)
    loop.run()
    loop.recorder.ledger.close()
    market = Market.build(config, INSTRUMENTS, "test")
    expected = trade(load_trained(folder / "models", config, INSTRUMENTS), market)
    with reader(plan.ledger) as connection:
        found = market_ledger(connection)
    assert found.outcomes.tobytes() == expected.outcomes.tobytes()
    assert found.fills.tobytes() == expected.fills.tobytes()


def test_the_training_range_comes_from_the_scalers(trained):
    folder, config = trained
    policy = load_trained(folder / "models", config, INSTRUMENTS).policy
    mean, deviation = training_range(policy, SYMBOLS)
    judged = deviation[~(mean != mean)]
    assert len(judged) == len(SYMBOLS) * len(policy.feature_names)
    assert (judged > 0.0).all()


def test_the_commands_of_a_day(trained, tmp_path):
    folder, _ = trained
    ledger = tmp_path / "day.sqlite"
    common = ["--ledger", ledger]
    run = ["run", *common, "--models", folder / "models"]
    said = invoke(*run, "--bars", 20)
    assert "bars lived    20" in said
    status = json.loads(invoke("status", *common, "--json", code=1))
    assert status["process"] is None
    assert status["guard"] == "active"
    assert "the next one is halted" in invoke("halt", *common, "--reason", "lunch")
    invoke(*run, "--bars", 5)
    status = json.loads(invoke("status", *common, "--json", code=1))
    assert status["guard"].startswith("halted")
    assert "lunch" in status["reasons"]
    for verb in ("resume", "reconcile", "flatten"):
        assert "noted" in invoke(verb, *common)
    invoke("promote", folder / "newer", "--capital", "0.5", *common)
    invoke("rollback", *common)
    invoke(*run, "--bars", 5)
    with reader(ledger) as connection:
        answers = table(connection, "answers")["text"].tolist()
        verbs = table(connection, "models")["verb"].tolist()
    assert len(answers) == 6
    assert verbs == ["promote", "promote", "rollback"]
    assert "equity" in invoke("status", *common, code=1)
    written = invoke("export", tmp_path / "out", *common)
    assert "paper_orders.parquet" in written


def test_what_is_not_there_is_said(tmp_path):
    for verb in ("status", "halt", "resume", "flatten"):
        result = RUNNER.invoke(app, ["paper", verb, "--ledger", str(tmp_path / "no.sqlite")])
        assert result.exit_code != 0
        assert "must be a paper ledger" in str(result.exception)


def test_a_loop_that_dies_tells_what_it_held(trained, tmp_path, monkeypatch):
    folder, _ = trained
    ledger = tmp_path / "dies.sqlite"
    run = ["run", "--ledger", ledger, "--models", folder / "models"]
    invoke(*run, "--bars", 20)

    def broken(loop: PaperLoop, delivery: object) -> int:
        raise ValueError("out of the blue")

    monkeypatch.setattr(PaperLoop, "live", broken)
    result = RUNNER.invoke(app, ["paper", *map(str, run)])
    assert isinstance(result.exception, ValueError)
    alerts = ledger.with_name(ledger.name + ".alerts.jsonl").read_text()
    last = json.loads(alerts.splitlines()[-1])
    assert last["level"] == "critical"
    assert re.fullmatch(r"the loop died, holding .+: out of the blue", last["text"])


def test_bars_that_yahoo_knows_too_late_are_refused(trained, tmp_path):
    _, config = trained
    data = config.data.model_copy(update={"source": "yahoo", "bar": "15min"})
    short = config.model_copy(update={"data": data})
    market = SimpleNamespace(panel=SimpleNamespace(bar_seconds=900, symbols=SYMBOLS))
    plan = PaperPlan(tmp_path / "y.sqlite", tmp_path, feed="yahoo")
    with pytest.raises(ConfigError, match=r"data.bar.*must be long enough"):
        paper._feed(short, INSTRUMENTS, market, plan)


def test_a_ledger_that_never_traded_is_still_new(trained, tmp_path, monkeypatch):
    """Its maker was killed: whether the model has seen the bars has to be asked still."""
    folder, config = trained
    plan = PaperPlan(tmp_path / "b.sqlite", folder / "models")
    asked = []
    monkeypatch.setattr(paper, "check_unseen", lambda *arguments: asked.append(arguments))

    def killed(*arguments: object) -> PaperLoop:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(opening, "_begin", killed)
        with pytest.raises(KeyboardInterrupt):
            paper_loop(config, INSTRUMENTS, plan)
    loop = paper_loop(config, INSTRUMENTS, plan)
    assert len(asked) == 2
    loop.recorder.ledger.close()
    paper_loop(config, INSTRUMENTS, plan).recorder.ledger.close()
    assert len(asked) == 2
