# SPDX-License-Identifier: Apache-2.0
"""Every planted leak is found by the check that is there for it, and the honest policy passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mtquant.workflows.verify as package
from mtquant.backtest import runner
from mtquant.core.errors import DataError
from mtquant.core.protocols import Policy
from mtquant.workflows.verify import Effort, Record, Subject, VerifyReport, verify
from mtquant.workflows.verify.behaviour import NAME as BEHAVIOUR
from mtquant.workflows.verify.levels import NAME as LEVELS
from mtquant.workflows.verify.noise import NAME as NOISE
from mtquant.workflows.verify.noise import Noise, check_noise
from mtquant.workflows.verify.own_features import NAME as OWN
from mtquant.workflows.verify.own_features import check_own_features
from mtquant.workflows.verify.paper import NAME as PAPER
from mtquant.workflows.verify.streaming import NAME as STREAM
from mtquant.workflows.verify.warmup import NAME as WARMUP
from tests.support.leaks.market import PLAIN, Follower, config_of, market, subject_of
from tests.support.leaks.plants import PLANTS, Plant
from tests.support.markets import INSTRUMENTS

LITTLE = Effort(cuts=4, decisions=2, replayed=40)


def record(report: VerifyReport, name: str) -> Record:
    return next(record for record in report.records if record.name == name)


@pytest.fixture(scope="module")
def honest() -> VerifyReport:
    return verify(subject_of(), LITTLE)


def test_the_honest_policy_passes(honest: VerifyReport) -> None:
    assert honest.passed and honest.failed == ()
    assert isinstance(Follower(), Policy)


def test_a_policy_without_a_folder_says_what_was_not_checked(honest: VerifyReport) -> None:
    verdicts = {record.name: record.verdict for record in honest.records}
    unchecked = {name for name, verdict in verdicts.items() if verdict == "not checked"}
    assert unchecked == {
        "data: the bars of the training",
        "look-ahead: scaler",
        "seed replay",
        "training: later bars",
        "weights: those of the run",
    }


def test_at_least_twelve_kinds_are_planted_everywhere() -> None:
    assert len(PLANTS) >= 12
    assert {plant.where for plant in PLANTS} == {"feature", "policy", "environment", "data"}
    assert len({plant.kind for plant in PLANTS}) == len(PLANTS)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.kind)
def test_a_planted_leak_is_found(plant: Plant) -> None:
    found = record(verify(plant.subject(), LITTLE), plant.check)
    assert found.verdict == "failed"
    worst = found.findings[0]
    assert worst.what == plant.what
    assert worst.size > 0.0
    assert found.remedy
    if plant.check not in (NOISE, "control: policy on noise", "data: stamps beside each other"):
        assert worst.row >= 0 and worst.stamp.endswith("Z")


def test_a_cut_says_how_far_a_leak_reaches() -> None:
    plant = next(plant for plant in PLANTS if plant.what == "centred_window")
    found = record(verify(plant.subject(), LITTLE), plant.check)
    assert "reaches 5 rows back" in found.findings[0].text


def test_a_column_from_outside_that_knows_nothing_is_not_vouched_for() -> None:
    """It is no leak, and no cut can say so: it is named."""
    subject = subject_of("log_return_1", "dull_table")
    found = check_noise(Noise(subject, LITTLE))
    assert found.verdict == "not checked"
    assert "dull_table" in found.finding and "log_return_1" not in found.finding


def test_calendar_features_are_not_taken_for_tables() -> None:
    found = check_noise(Noise(subject_of("log_return_1", "hour_sin", "weekday_cos"), LITTLE))
    assert found.verdict == "passed"


def test_a_feature_that_says_it_reads_the_price_level_is_named() -> None:
    found = record(verify(subject_of("log_return_1", "honest_level"), LITTLE), LEVELS)
    assert found.verdict == "not checked" and "honest_level" in found.finding


def test_a_feature_that_remembers_more_than_it_says_fails_the_warm_up() -> None:
    found = record(verify(subject_of("log_return_1", "since_the_beginning"), LITTLE), WARMUP)
    assert found.verdict == "failed" and found.findings[0].what == "since_the_beginning"
    assert found.findings[0].size > 1e-4


def test_a_feature_that_streams_otherwise_is_found() -> None:
    report = verify(subject_of("log_return_1", "streamed_otherwise"), LITTLE)
    found = record(report, STREAM)
    assert found.verdict == "failed" and found.findings[0].what == "streamed_otherwise"
    on_paper = {one.what for one in record(report, PAPER).findings}
    assert "EURUSD.streamed_otherwise" in on_paper and "EURUSD.log_return_1" not in on_paper


def test_the_same_seed_draws_the_same_cuts(honest: VerifyReport) -> None:
    again = verify(subject_of(), LITTLE)
    assert [record.finding for record in again.records] == [
        record.finding for record in honest.records
    ]


def test_verify_names_no_planted_leak() -> None:
    """It has to find what it does not know."""
    folder = Path(package.__file__).parent
    text = "\n".join(path.read_text() for path in folder.glob("*.py"))
    assert not [plant.what for plant in PLANTS if "_" in plant.what and plant.what in text]


def test_a_subject_needs_rows() -> None:
    bars = {symbol: own.rows(slice(0, 100)) for symbol, own in market().items()}
    config = config_of(*PLAIN, "ewma_volatility_3")
    subject = Subject.of(Follower((*PLAIN, "ewma_volatility_3")), config, INSTRUMENTS, bars)
    with pytest.raises(DataError, match="must go on for 60 rows behind the warm-up"):
        _ = subject.first_row


def test_own_features_are_tried_on_hard_bars() -> None:
    found = record(verify(subject_of("log_return_1", "honest_level"), LITTLE), OWN)
    assert found.verdict == "passed" and "honest_level" in found.finding
    found = record(verify(subject_of("log_return_1", "streamed_otherwise"), LITTLE), OWN)
    assert found.verdict == "failed" and "not streamable" in found.findings[0].text


def test_few_bars_leave_own_features_unchecked() -> None:
    bars = {symbol: own.rows(slice(0, 150)) for symbol, own in market().items()}
    names = ("log_return_1", "honest_level")
    subject = Subject.of(Follower(names), config_of(*names), INSTRUMENTS, bars)
    assert check_own_features(subject).verdict == "not checked"


def test_an_observation_of_the_next_row_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Features and environment are honest here: it is the backtest that shows too much."""
    write = runner.write_observation

    def early(values: Any, row: int, features: Any, window: int, seen: Any) -> None:
        write(values, min(row + 1, len(features) - 1), features, window, seen)

    monkeypatch.setattr(runner, "write_observation", early)
    report = verify(subject_of(), LITTLE)
    found = record(report, BEHAVIOUR)
    assert found.verdict == "failed"
    assert {"EURUSD.log_return_1", "target of EURUSD"} <= {one.what for one in found.findings}
    assert "look-ahead: features" not in report.failed
