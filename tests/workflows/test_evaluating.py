# SPDX-License-Identifier: Apache-2.0
"""The evaluation of each phase: everything measured, written whole, the same twice."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtquant.agents.training.phase1_trainer import Phase1Trainer
from mtquant.agents.training.phase2_trainer import Phase2Trainer
from mtquant.core.config import Config, derived_config
from mtquant.core.errors import CheckpointError
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import PRICE_COLUMNS, Bars
from mtquant.data.folds import FoldPlan, make_folds
from mtquant.data.sources import split_bars
from mtquant.data.synthetic import SCENARIOS
from mtquant.market.ledger import Ledger
from mtquant.workflows.backtesting import Market, trade
from mtquant.workflows.evaluating import (
    JSON_NAME,
    TEXT_NAME,
    Effort,
    Evaluation,
    evaluate_phase,
)
from mtquant.workflows.robustness import robustness, robustness_section
from mtquant.workflows.targets import Target, correlation_exposure, figures, targets_of
from tests.support.hierarchies import market_of, random_hierarchy
from tests.support.markets import INSTRUMENTS, SYMBOLS, TINY_STEPS, tiny_config, write_market

EFFORT = Effort(draws=50, scenario_seeds=1)


@dataclass(frozen=True)
class Run:
    """Two phases of a tiny run, evaluated."""

    root: Path
    config: Config
    found: dict[int, Evaluation]
    announced: list[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("evaluated")
    config = tiny_config(write_market(root / "bars"))
    found: dict[int, Evaluation] = {}
    announced: list[str] = []
    for phase, kind in ((1, Phase1Trainer), (2, Phase2Trainer)):
        folder = root / f"phase{phase}"
        kind(config, folder, root / "logs", INSTRUMENTS, timesteps=TINY_STEPS).train()
        found[phase] = evaluate_phase(phase, folder, config, INSTRUMENTS, EFFORT, announced.append)
    return Run(root, config, found, announced)


def stored(run: Run, phase: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.root / f"phase{phase}" / JSON_NAME).read_text())
    return found


def test_phase_1_has_its_sections(run: Run) -> None:
    assert [section.title for section in run.found[1].sections] == [
        "Targets of phase 1",
        "Specialists one by one",
        "Robustness over scenarios",
        "What moved the specialists' actions",
    ]
    found = stored(run, 1)
    assert set(found["specialists"]) == set(SYMBOLS)
    for targets in (found["targets"], *found["specialists"].values()):
        assert [target["name"] for target in targets] == [
            "Sharpe ratio",
            "max drawdown",
            "win rate of trades",
            "Sortino ratio",
            "Calmar ratio",
        ]
    assert set(found["robustness"]["measured"]) == set(SCENARIOS)


def test_phase_2_has_its_sections(run: Run) -> None:
    assert [section.title for section in run.found[2].sections] == [
        "Targets of phase 2",
        "Allocation efficiency",
        "Use of the specialists",
        "Communication test",
        "Robustness over scenarios",
        "What moved the specialists' actions",
        "What moved the meta-controller's weights",
    ]
    found = stored(run, 2)
    names = [target["name"] for target in found["targets"]]
    assert "bars within the VaR limit" in names and "bars within the correlation limit" in names
    assert len(found["communication"]["found"]) == 18
    assert found["communication"]["used"] in (True, False)
    for reasons in found["reasons"]:
        assert len(reasons["top"]) == 10
        shares = [reason["share"] for reason in reasons["top"]]
        assert shares == sorted(shares, reverse=True) and sum(shares) <= 1.0 + 1e-9
        assert reasons["missing"] < 0.05
    assert "communication" not in stored(run, 1)
    assert "robustness over scenarios" in run.announced


def test_the_page_holds_every_table(run: Run) -> None:
    page = (run.root / "phase2" / TEXT_NAME).read_text()
    assert page.startswith("# Phase 2 on the test period\n")
    for section in run.found[2].sections:
        assert f"## {section.title}" in page
        for row in section.rows:
            assert len(row) == len(section.headings)
        for note in section.notes:
            assert note in page
    assert not list((run.root / "phase2").glob(".evaluation*"))  # nothing half-written


def test_twice_is_the_same(run: Run) -> None:
    before = [(run.root / "phase2" / name).read_bytes() for name in (JSON_NAME, TEXT_NAME)]
    evaluate_phase(2, run.root / "phase2", run.config, INSTRUMENTS, EFFORT)
    after = [(run.root / "phase2" / name).read_bytes() for name in (JSON_NAME, TEXT_NAME)]
    assert before == after


def test_scenarios_can_be_left_out(run: Run) -> None:
    effort = Effort(draws=20, scenario_seeds=0)
    found = evaluate_phase(1, run.root / "phase1", run.config, INSTRUMENTS, effort)
    assert "robustness" not in found.found


def test_models_that_know_the_test_rows_are_refused(run: Run) -> None:
    config = run.config.model_copy(
        update={"data": run.config.data.model_copy(update={"train_frac": 0.3})}
    )
    with pytest.raises(CheckpointError, match="must lie behind the bars"):
        evaluate_phase(2, run.root / "phase2", config, INSTRUMENTS, EFFORT)


def test_a_scenario_with_too_few_training_rows_is_not_measured(run: Run) -> None:
    market = market_of(run.config)
    found = robustness(random_hierarchy(market), market, SeedTree(0), 1, most=50)
    assert found is None
    (note,) = robustness_section(found).notes
    assert note.startswith("Not measured")


def test_scenarios_know_nothing_of_a_test_between_training_rows(run: Run) -> None:
    """Prices of the hole may be anything; what a policy shows in scenarios stays the same."""
    stamps = {own.symbol: own.stamps for own in market_of(run.config).bars}
    plan = FoldPlan("combinatorial", 5, 1, 0.5, 0.25, 5)
    fold = make_folds(stamps, plan, run.config.data.bar_seconds)[1]
    periods = f"data.periods={fold.periods().model_dump_json()}"
    market = market_of(derived_config(run.config, [periods]))
    test = split_bars({own.symbol: own for own in market.bars}, market.config.data).test

    def dear(own: Bars) -> Bars:
        inside = (own.stamps >= test.start_ns) & (own.stamps < test.end_ns)
        factor = np.where(inside, np.linspace(1.0, 9.0, len(own)), 1.0)
        prices = {name: getattr(own, name) * factor for name in PRICE_COLUMNS}
        return replace(own, **prices)

    other = Market.of(market.config, INSTRUMENTS, tuple(dear(own) for own in market.bars))
    policy = random_hierarchy(market)
    found, again = (robustness(policy, own, SeedTree(0), 1, most=120) for own in (market, other))
    assert found is not None and again is not None and found.bars >= 100
    assert found.measured == again.measured


def test_ruins_in_scenarios_count(run: Run) -> None:
    """Under a floor at 99.8 % of the deposit few accounts live on."""
    market = market_of(derived_config(run.config, ["environment.bankruptcy_equity_frac=0.998"]))
    found = robustness(random_hierarchy(market, size=30.0), market, SeedTree(0), 2, most=120)
    assert found is not None
    lost = {name: sum(own["ruined"]) for name, own in found.measured.items()}
    assert max(lost.values()) > 0.0
    for own in found.measured.values():
        assert [value == -np.inf for value in own["sharpe"]] == [v == 1.0 for v in own["ruined"]]
    section = robustness_section(found)
    column, ratio = section.headings.index("ruined"), section.headings.index("Sharpe ratio")
    for row in section.rows:
        assert row[column] == f"{lost[row[0]]:.0f} of 2"
        assert ("ruined" in row[ratio]) == (lost[row[0]] > 0.0)


# --- targets ---


def target(least: bool | None, interval: tuple[float, float]) -> Target:
    return Target("Sharpe ratio", least, 1.5, 2.0, interval, False)


@pytest.mark.parametrize(
    ("least", "interval", "met"),
    [
        (True, (1.6, 2.4), True),
        (True, (1.4, 2.6), False),
        (True, (np.nan, np.nan), False),
        (False, (1.0, 1.4), True),
        (False, (1.0, 1.6), False),
        (None, (0.0, 1.0), None),
    ],
)
def test_a_target_is_met_by_the_whole_interval(
    least: bool | None, interval: tuple[float, float], met: bool | None
) -> None:
    assert target(least, interval).met is met


@pytest.fixture(scope="module")
def ledger(run: Run) -> Ledger:
    market = market_of(run.config)
    return trade(random_hierarchy(market, size=30.0), market)


def test_targets_show_what_figures_measure(run: Run, ledger: Ledger) -> None:
    market = market_of(run.config)
    world = market.rules, market.tape
    measured = figures(ledger, *world)
    targets = targets_of(3, ledger, *world, 30, np.random.default_rng(0))
    assert [each.measured for each in targets] == pytest.approx(
        [
            measured[key]
            for key in ("sharpe", "drawdown", "win_rate", "var", "sortino", "calmar", "correlation")
        ],
        nan_ok=True,
    )
    for each in targets[:2]:
        assert each.interval[0] <= each.interval[1]


def test_the_correlation_exposure_is_the_limits(run: Run, ledger: Ledger) -> None:
    """|w_1 + rho w_2| or |w_2 + rho w_1|, whichever is larger, of the held book."""
    market = market_of(run.config)
    found = correlation_exposure(ledger, market.rules, market.tape)
    weights = ledger.positions * ledger.prices / ledger.equity[:, None]  # both pay in dollars
    table = market.tape.risk(market.rules.var_method).rows[ledger.rows]
    rho = table[:, 2, 1]  # behind deviations and eigenvalues
    first, second = weights.T
    wanted = np.maximum(np.abs(first + rho * second), np.abs(second + rho * first))
    assert found == pytest.approx(wanted)
    assert found.max() > 0.0
