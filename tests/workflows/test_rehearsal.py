# SPDX-License-Identifier: Apache-2.0
"""Many accounts under one hierarchy: what one account is worth is what the backtest says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mtquant.agents.baselines import Cash
from mtquant.envs.hierarchy import MESSAGE_NAMES
from mtquant.evaluation.significance.paired import mean_intervals
from mtquant.workflows.allocation_study import (
    CONSTANT,
    EQUAL,
    INVERSE,
    MEAN,
    MONTHLY,
    OWN,
    AllocationTrial,
    allocation_sections,
)
from mtquant.workflows.backtesting import Market, trade
from mtquant.workflows.communication import (
    ALL,
    DELAYED,
    SHUFFLED,
    SHUFFLES,
    ZEROED,
    CommunicationTest,
    DisturbedEars,
    communication_section,
    communication_test,
)
from mtquant.workflows.models import Trained
from mtquant.workflows.rehearsal import Moment, Passage, Rehearsal
from tests.support.hierarchies import (
    generator,
    listening_hierarchy,
    momentum_market,
    random_hierarchy,
)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return momentum_market(tmp_path_factory.mktemp("momentum"))


def alone(stage: Rehearsal, accounts: int = 1) -> Passage:
    """Account 0 and its copies under the hierarchy itself."""
    return stage.run(
        lambda moment: stage.policy.scales(moment.seen, moment.messages),
        accounts,
        contributions=True,
    )


def test_an_account_earns_what_the_backtest_says(market: Market) -> None:
    trained = random_hierarchy(market, size=30.0)
    stage = Rehearsal(trained, market)
    passage, ledger = alone(stage, 3), trade(trained, market)
    assert stage.stamps.tolist() == ledger.stamps.tolist()
    growth = ledger.column("growth")
    assert np.abs(growth).sum() > 0.02  # it trades
    for e in range(3):
        assert passage.growth[:, e] == pytest.approx(growth, abs=1e-7)


def test_contributions_are_growth_less_growth_without(market: Market) -> None:
    """One specialist alone has the budget: what it adds is all there is, less leaving."""
    stage = Rehearsal(listening_hierarchy(market), market)
    passage = stage.run(lambda moment: np.array([[0.5, 0.0]]), 1, contributions=True)
    assert np.abs(passage.contributions[:, 1]).max() == 0.0
    # At zero costs of leaving they would be equal; the copy pays its spread to leave.
    assert passage.contributions[:, 0] == pytest.approx(passage.growth[:, 0], abs=2e-4)
    assert np.corrcoef(passage.contributions[1:, 0], passage.growth[1:, 0])[0, 1] > 0.999


def test_an_account_that_is_ruined_stays_ruined(market: Market) -> None:
    """At 40 times its equity it cannot last."""
    rules = replace(
        market.rules,
        max_gross_exposure=100.0,
        instruments=tuple(
            replace(item, name_cap=100.0, margin_frac=0.001) for item in market.rules.instruments
        ),
    )
    wild = replace(market, rules=rules)
    stage = Rehearsal(listening_hierarchy(wild), wild)
    passage = stage.run(lambda moment: np.tile([[60.0, -60.0], [0.1, 0.1]], 1), 2)
    (dead,) = np.nonzero(passage.growth[:, 0] < -0.5)
    assert len(dead)
    assert np.abs(passage.growth[dead[-1] + 1 :, 0]).max(initial=0.0) == 0.0
    assert np.abs(passage.seen[dead[-1] + 1 :]).max(initial=0.0) == 0.0
    assert passage.growth[-1, 1] != 0.0


def test_only_hierarchies_have_messages(market: Market) -> None:
    ensemble = Trained(Cash(), 1, {}, {}, 0.01, {}, ())
    with pytest.raises(TypeError, match="no hierarchy: Cash"):
        Rehearsal(ensemble, market)


# --- communication ---


def disturbed(trained: Trained, market: Market) -> tuple[CommunicationTest, Passage, DisturbedEars]:
    stage = Rehearsal(trained, market)
    first = alone(stage)
    ears = DisturbedEars(stage.policy, first, generator(1))
    second = stage.run(ears.scales, len(ears))
    own = first.growth[:, 0], first.scales[:, 0]
    found = communication_test(
        ears.accounts, second.growth, second.scales, own, 260.0, 1.0, 200, generator(2)
    )
    return found, second, ears


def test_messages_that_are_used_are_found_out(market: Market) -> None:
    found, _, _ = disturbed(listening_hierarchy(market), market)
    assert found.used
    assert found.decisive.moved > 0.05
    (note,) = communication_section(found).notes
    assert note.startswith("The messages are used")
    by = {(each.kind, each.channel): each for each in found.found}
    assert len(by) == 3 * (len(MESSAGE_NAMES) + 1)
    # Only one channel is read, and the signal that is traded is never disturbed.
    for kind in (SHUFFLED, ZEROED, DELAYED):
        read = by[kind, "forecast_return"]
        assert read.sharpe_fall == pytest.approx(by[kind, ALL].sharpe_fall, abs=0.02)
        for channel in ("signal", "confidence", "value", "forecast_volatility"):
            assert abs(by[kind, channel].growth_fall) < 1e-4
            assert by[kind, channel].moved < 1e-5


def test_messages_that_are_ignored_are_found_out(market: Market) -> None:
    found, _, _ = disturbed(listening_hierarchy(market, attention=0.0), market)
    assert not found.used
    assert found.decisive.sharpe_fall == pytest.approx(0.0, abs=1e-3)
    (note,) = communication_section(found).notes
    assert note.startswith("The messages are not used")
    assert "to no measurable gain" not in note


def test_what_disturbed_ears_hear(market: Market) -> None:
    stage = Rehearsal(random_hierarchy(market, size=30.0), market)
    passage = alone(stage)
    heard: list[np.ndarray] = []

    class Spy:
        def scales(self, _: np.ndarray, messages: np.ndarray, followed: np.ndarray) -> np.ndarray:
            heard.append(messages)
            assert followed is told[len(heard) - 1]  # what is traded is never disturbed
            return np.zeros(messages.shape[:2])

    ears = DisturbedEars(Spy(), passage, generator(1))  # type: ignore[arg-type]
    told = list(generator(5).random((4, len(ears), 2, 5)).astype(np.float32))
    for t in range(4):
        ears.scales(Moment(t, t, np.zeros((len(ears), 1), np.float32), told[t]))
    shuffles = 0
    for e, (kind, channel, _) in enumerate(ears.accounts):
        own = np.array([channel in (ALL, name) for name in MESSAGE_NAMES])
        for t in range(4):
            assert (heard[t][e][:, ~own] == told[t][e][:, ~own]).all()
            disturbed = heard[t][e][:, own]
            if kind == ZEROED or (kind == DELAYED and t == 0):
                assert (disturbed == 0.0).all()
            elif kind == DELAYED:
                assert (disturbed == told[t - 1][e][:, own]).all()
            else:  # somewhere in what was said undisturbed
                said = passage.messages[:, :, own]
                assert (said == disturbed).all(axis=(1, 2)).any()
                shuffles += 1
    assert shuffles == 4 * SHUFFLES * 6


# --- allocation ---


def test_the_best_allocations_are_the_best(market: Market) -> None:
    trial = AllocationTrial(Rehearsal(listening_hierarchy(market), market))
    held = trial.candidates()
    second = trial.stage.run(lambda m: np.array([each.scales[m.t] for each in held]), len(held))
    study = trial.study(held, second.growth, 200, generator(2))
    found = study.allocations
    assert list(found) == [OWN, EQUAL, INVERSE, MEAN, CONSTANT, MONTHLY]
    assert found[CONSTANT].growth >= max(found[EQUAL].growth, found[MEAN].growth)
    assert found[MONTHLY].growth > found[CONSTANT].growth
    assert found[CONSTANT].of_constant == pytest.approx(1.0)
    # It hears which instrument goes on rising; no constant allocation can know that.
    assert found[OWN].growth > found[EQUAL].growth
    assert found[EQUAL].interval[0] > 0.0
    assert study.regret[0] == pytest.approx(found[CONSTANT].growth - found[OWN].growth)
    assert study.regret[1][0] <= study.regret[0] <= study.regret[1][1]
    assert sum(study.utilisation.values()) == pytest.approx(1.0)
    efficiency, use = allocation_sections(study)
    assert len(efficiency.rows) == 6 and len(use.rows) == 3


def test_confidence_is_compared_with_what_followed(market: Market) -> None:
    """Forecasts that the last return goes on are right here: the surer, the more is earned."""
    trial = AllocationTrial(Rehearsal(listening_hierarchy(market), market))
    passage = trial.first
    # Sure where it forecasts a rise: the specialists are always long.
    rising = passage.messages[:, :, 3] > 0.0
    passage.messages[:, :, 1] *= rising
    study = trial._confidence(300, generator(1))
    assert study["all"].interval[0] > 0.0
    assert study["all"].bars == 2 * passage.own[:, 0].sum()


def test_differences_are_paired(market: Market) -> None:
    trial = AllocationTrial(Rehearsal(random_hierarchy(market, size=30.0), market))
    held = trial.candidates()
    second = trial.stage.run(lambda m: np.array([each.scales[m.t] for each in held]), len(held))
    study = trial.study(held, second.growth, 200, generator(2))
    per_year = market.tape.bars_per_year
    ahead = per_year * (trial.first.growth[:, 0] - trial.first.growth[:, 1])
    assert study.allocations[EQUAL].behind == pytest.approx(ahead.mean())
    ((low, high),) = mean_intervals(ahead[:, None], 200, generator(9))
    assert study.allocations[EQUAL].interval[0] == pytest.approx(low, abs=0.4 * (high - low))
