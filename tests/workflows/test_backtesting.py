# SPDX-License-Identifier: Apache-2.0
"""The backtest of trained specialists: ledgers, audit, report, warnings, refusals."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mtquant.agents.ensemble import SpecialistEnsemble
from mtquant.agents.specialist import MANIFEST_NAME, WEIGHTS_NAME, save_specialist
from mtquant.backtest.vectorbt_audit import TOLERANCE
from mtquant.core.config import config_hash
from mtquant.core.errors import CheckpointError, DataError
from mtquant.core.runs import CARD_NAME
from mtquant.evaluation.verdict import verdict
from mtquant.market.ledger import Ledger
from mtquant.workflows.backtest_report import BacktestResult, backtest
from mtquant.workflows.backtesting import Market
from mtquant.workflows.models import load_trained
from mtquant.workflows.report_parts import COST_SCALES, phase_ledgers
from mtquant.workflows.training import train_phase
from tests.support.markets import INSTRUMENTS, SYMBOLS, TINY_STEPS, tiny_config, write_market
from tests.support.specialists import Replay, constant_weights, manifest_of, world_of

NAMES = ["specialists", "cash", "buy and hold", "equal weight", "inverse volatility", "momentum"]
NAMES += ["minimum variance", "risk parity", "random, same turnover"]


@dataclass(frozen=True)
class Run:
    """Bars, models and a backtest of them."""

    market: Path
    models: Path
    output: Path
    result: BacktestResult
    progress: list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    market = write_market(folder / "bars")
    config = tiny_config(market)
    models, output = folder / "models", folder / "backtest"
    train_phase(1, config, INSTRUMENTS, models, folder / "logs", timesteps=TINY_STEPS)
    progress: list[tuple[str, int, int]] = []
    result = backtest(
        config,
        INSTRUMENTS,
        models,
        output,
        command=["mtquant", "backtest"],
        progress=lambda name, done, total: progress.append((name, done, total)),
    )
    return Run(market, models, output, result, progress)


def test_the_policy_and_the_four_baselines_traded_the_test_period(run: Run) -> None:
    ledgers = run.result.ledgers
    assert [ledger.name for ledger in ledgers] == NAMES
    market = Market.build(tiny_config(run.market), INSTRUMENTS, "test")
    for ledger in ledgers:
        assert ledger.symbols == SYMBOLS
        expected = market.panel.stamps[market.rows.start + 1 : market.rows.stop]
        assert ledger.stamps.tolist() == expected.tolist()
        # Baselines trade without stops, in what is otherwise the same world.
        assert ledger.world_hash == ledgers[0].world_hash
    assert len({ledger.rules_hash for ledger in ledgers[1:]}) == 1
    assert ledgers[0].rules_hash != ledgers[1].rules_hash


def test_vectorbt_agrees(run: Run) -> None:
    assert run.result.audit.largest_relative_difference <= TOLERANCE == 1e-9
    assert run.result.audit.bars == len(run.result.ledgers[0])
    np.testing.assert_allclose(run.result.audit.equity, run.result.ledgers[0].equity, rtol=1e-9)


def test_the_ledgers_can_be_read_again(run: Run) -> None:
    for ledger in run.result.ledgers:
        stored = Ledger.load(run.output / "ledgers" / ledger.name.replace(" ", "_"))
        assert stored.hash() == ledger.hash()
    assert run.result.ledger_hash == run.result.ledgers[0].hash()


def test_the_report_needs_no_network(run: Run) -> None:
    page = run.result.report.read_text(encoding="utf-8")
    assert run.result.report == run.output / "report.html"
    # Addresses inside the bundled plotly.js are strings of its code; nothing may be loaded.
    assert not re.search(r"<(script|link|img|iframe)[^>]+(src|href)=", page)
    assert "Plotly.newPlot" in page
    for name in NAMES:
        assert name in page
    for digest in run.result.weights_hashes.values():
        assert digest in page


def test_the_report_holds_costs_specialists_and_curves(run: Run) -> None:
    content = json.loads((run.output / "report.json").read_text())
    chapters = {chapter["title"]: chapter["blocks"] for chapter in content["chapters"]}
    figures = {
        block["figure"]: block
        for blocks in chapters.values()
        for block in blocks
        if "figure" in block
    }
    assert figures["Cost sensitivity"]["series"][0]["x"] == list(COST_SCALES)
    own = next(block for block in chapters["Attribution"] if block.get("table") == "By specialist")
    assert [row[0] for row in own["rows"]] == list(SYMBOLS)
    curves = figures["Distance between the policy before and after the update"]["series"]
    assert [series["name"] for series in curves] == [f"models, {symbol}" for symbol in SYMBOLS]
    assert "Stress scenarios" not in chapters  # not asked for


def test_phases_are_traded_on_the_same_bars_and_unusable_ones_left_out(
    run: Run, tmp_path: Path
) -> None:
    config, (ledger, *_) = tiny_config(run.market), run.result.ledgers
    market = Market.build(config, INSTRUMENTS, "test")
    trained = replace(load_trained(run.models, config, INSTRUMENTS), phase=3)
    assert phase_ledgers(tmp_path / "phase3", trained, ledger, market, "test") == {}
    shutil.copytree(run.models, tmp_path / "phase1")
    (tmp_path / "phase2").mkdir()  # holds nothing that can be loaded
    found = phase_ledgers(tmp_path / "phase3", trained, ledger, market, "test")
    assert list(found) == ["phase 1", "phase 3"]
    assert found["phase 1"].hash() == ledger.hash()
    assert found["phase 3"] is ledger


def test_the_card_tells_what_was_done(run: Run) -> None:
    card = json.loads((run.output / CARD_NAME).read_text())
    assert card["command"] == ["mtquant", "backtest"]
    assert card["config_hash"] == config_hash(tiny_config(run.market))
    assert set(card["stages"]) == {"backtest/test"}
    assert card["stages"]["backtest/test"]["bars"] == len(run.result.ledgers[0])


def test_progress_goes_through_every_policy(run: Run) -> None:
    bars = len(run.result.ledgers[0])
    costs = [f"costs x {scale:g}" for scale in COST_SCALES if scale != 1.0]
    expected = [(name, done, bars) for name in (*NAMES, *costs) for done in range(1, bars + 1)]
    assert run.progress == expected


def test_weights_hashes_are_the_files(run: Run) -> None:
    for symbol in SYMBOLS:
        manifest = json.loads((run.models / symbol / MANIFEST_NAME).read_text())
        assert run.result.weights_hashes[symbol] == manifest["weights_sha256"]


def test_the_same_backtest_twice_is_the_same_ledger(run: Run, tmp_path: Path) -> None:
    again = backtest(tiny_config(run.market), INSTRUMENTS, run.models, tmp_path)
    assert again.ledger_hash == run.result.ledger_hash
    assert again.markdown == run.result.markdown


def test_the_validation_part_can_be_replayed(run: Run, tmp_path: Path) -> None:
    config = tiny_config(run.market)
    result = backtest(config, INSTRUMENTS, run.models, tmp_path, part="validation")
    assert result.ledgers[0].stamps[-1] < run.result.ledgers[0].stamps[0]


def test_other_rules_are_warned_of(run: Run) -> None:
    def of_rules(warnings: Sequence[str]) -> list[str]:
        return [text for text in warnings if "other rules" in text]

    assert of_rules(run.result.warnings) == []
    config = tiny_config(run.market, "environment.stop_loss_pct=0.05")
    assert of_rules(load_trained(run.models, config, INSTRUMENTS).warnings) == [
        f"{symbol} was trained under other rules than it trades under here." for symbol in SYMBOLS
    ]


def test_warnings_reach_result_and_report(run: Run, tmp_path: Path) -> None:
    config = tiny_config(run.market, "environment.stop_loss_pct=0.05")
    result = backtest(config, INSTRUMENTS, run.models, tmp_path)
    page = result.report.read_text(encoding="utf-8")
    assert any("GBPUSD was trained under other rules" in text for text in result.warnings)
    assert all(text in page for text in result.warnings)


def test_a_missing_specialist_is_named_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.models / "EURUSD", tmp_path / "models" / "EURUSD")
    with pytest.raises(CheckpointError, match=r"GBPUSD must hold a specialist.*phase 1 first"):
        backtest(tiny_config(run.market), INSTRUMENTS, tmp_path / "models", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_specialist_of_other_features_is_refused(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.models, tmp_path / "models")
    file = tmp_path / "models" / "GBPUSD" / MANIFEST_NAME
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "features_hash": "0" * 64}))
    with pytest.raises(CheckpointError, match=r"GBPUSD must have been trained on this version"):
        load_trained(tmp_path / "models", tiny_config(run.market), INSTRUMENTS)


def write_constant_specialists(config_market: Path, folder: Path, action: float) -> None:
    """Specialists of both instruments that always ask for `action`."""
    config = tiny_config(config_market)
    for symbol in SYMBOLS:
        world = world_of(config, symbol)
        weights = constant_weights(len(world.manifest()["observation_names"]), action)
        save_specialist(folder / symbol, weights, manifest_of(world))
        assert (folder / symbol / WEIGHTS_NAME).exists()


def test_a_policy_that_hardly_trades_says_so_before_any_ratio(run: Run, tmp_path: Path) -> None:
    # A hundredth of the position that is allowed: gross exposure about 0.2 %, under the 2 % of
    # `verdict.MIN_MEAN_GROSS`.
    write_constant_specialists(run.market, tmp_path / "models", 0.01)
    result = backtest(tiny_config(run.market), INSTRUMENTS, tmp_path / "models", tmp_path / "out")
    assert verdict(result.ledgers[0]).hardly_trades
    for text in (result.markdown, result.report.read_text(encoding="utf-8")):
        assert "It hardly trades" in text
        first = text.index("It hardly trades")
        assert not re.search(r"Sharpe ratio -?\d", text[:first])


def test_a_policy_that_never_trades_says_so(run: Run, tmp_path: Path) -> None:
    write_constant_specialists(run.market, tmp_path / "models", 0.0)
    result = backtest(tiny_config(run.market), INSTRUMENTS, tmp_path / "models", tmp_path / "out")
    assert "It never traded" in result.markdown
    assert result.audit.fills == 0
    assert set(result.ledgers[0].equity) == {100_000.0}


def test_specialists_that_say_one_begin_as_inverse_volatility(run: Run, tmp_path: Path) -> None:
    write_constant_specialists(run.market, tmp_path / "models", 1.0)
    config = tiny_config(run.market, "environment.stop_loss_pct=0")
    result = backtest(config, INSTRUMENTS, tmp_path / "models", tmp_path / "out")
    ours, baseline = (result.ledgers[NAMES.index(n)] for n in ("specialists", "inverse volatility"))
    assert ours.targets[0].tobytes() == baseline.targets[0].tobytes()
    assert ours.outcomes[0].tobytes() == baseline.outcomes[0].tobytes()


def test_features_must_be_known_where_trading_begins(run: Run) -> None:
    market = Market.build(tiny_config(run.market), INSTRUMENTS, "validation")
    policy = Replay(np.zeros((1, 2)), ("log_return_400",))
    # Validation begins at row 365 of 600 (tests/agents/training/test_phase1_trainer.py).
    with pytest.raises(DataError, match=r"features of replay must be known.*need 400 bars"):
        market.features_for(policy)


def test_a_portfolio_of_one_lives_through_what_training_validated(run: Run, tmp_path: Path) -> None:
    """The whole chain, weighting and reward state included, changes nothing for a single one."""
    config = tiny_config(run.market, "data.instruments=[EURUSD]")
    models = tmp_path / "models"
    train_phase(1, config, INSTRUMENTS, models, tmp_path / "logs", timesteps=TINY_STEPS)
    validated = Ledger.load(models / "EURUSD" / "validation_ledger")
    result = backtest(config, INSTRUMENTS, models, tmp_path / "out", part="validation")
    replayed = result.ledgers[0]
    assert replayed.targets.tobytes() == validated.targets.tobytes()
    assert replayed.outcomes.tobytes() == validated.outcomes.tobytes()
    assert replayed.fills.tobytes() == validated.fills.tobytes()
    assert replayed.rules_hash == validated.rules_hash


def test_the_reward_state_of_several_is_at_the_mean_of_their_scales(run: Run) -> None:
    config = tiny_config(run.market)
    trained = load_trained(run.models, config, INSTRUMENTS)
    assert isinstance(trained.policy, SpecialistEnsemble)
    scales = [each.manifest.reward_scale for each in trained.policy.specialists.values()]
    assert trained.reward_scale == pytest.approx(sum(scales) / 2.0, rel=1e-12)
    assert trained.terms(config) == config.reward.phase_1


def test_other_bars_than_those_of_the_training_are_refused(run: Run, tmp_path: Path) -> None:
    """Otherwise a report on other bars, or on training rows, would call itself out of sample."""
    other = write_market(tmp_path / "bars", seed=99)
    with pytest.raises(CheckpointError, match="must go on from those that"):
        backtest(tiny_config(other), INSTRUMENTS, run.models, tmp_path / "backtest")
    assert not (tmp_path / "backtest").exists()


def test_a_test_part_inside_the_training_is_refused(run: Run, tmp_path: Path) -> None:
    config = tiny_config(run.market, "data.train_frac=0.3", "data.validation_frac=0.1")
    with pytest.raises(CheckpointError, match="must lie behind the bars that"):
        backtest(config, INSTRUMENTS, run.models, tmp_path / "backtest")
