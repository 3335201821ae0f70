# SPDX-License-Identifier: Apache-2.0
"""An evaluation tells the best rule from chance, and counts what does not parse."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mtquant.core.errors import DataError
from mtquant.llm.evaluation.evaluate import (
    FEWEST_BET_DAYS,
    LATER_LINE,
    _bet_intervals,
    evaluate,
    rival_chances,
)
from mtquant.llm.evaluation.report import write_evaluation
from mtquant.llm.evaluation.scores import Resamples
from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.config import TaskConfig
from tests.support.language import football_season, nba_season

SIZES = {"synthetic": {"train": 600, "validation": 50, "test": 600}}
DRAWS = 100


@pytest.fixture(scope="module")
def task():
    return make_task(TaskConfig.model_validate(SIZES))


@pytest.fixture(scope="module")
def test_set(task):
    return task.examples("test", balanced=False)


def best_answers(task, examples):
    rise = examples.columns["bayes_chance"]
    return task.write(examples, np.column_stack([1.0 - rise, rise]))


@pytest.fixture(scope="module")
def judged(task, test_set):
    return evaluate(task, test_set, best_answers(task, test_set), draws=DRAWS)


def test_the_best_rule_beats_the_base_rate_and_ties_with_itself(judged):
    gain, (low, high) = judged.gains["base rate"]
    assert low > 0.1 and low < gain < high
    gain, (low, high) = judged.gains["best rule"]
    assert abs(gain) < 0.005  # whole percent
    assert judged.model.scores["accuracy"] == judged.rival("best rule").scores["accuracy"]
    assert judged.model.scores["confidence_correlation"] > 0.99
    assert judged.rival("best rule").scores["confidence_correlation"] == pytest.approx(1.0)
    assert np.isnan(judged.rival("base rate").scores["confidence_correlation"])
    assert judged.model.scores["parse_rate"] == 1.0
    assert judged.model.scores["data_usage"] > 0.98
    assert judged.model.scores["coherence"] == pytest.approx(1.0)


def test_a_coin_in_perfect_form_is_no_evidence_of_skill(task, test_set, tmp_path):
    generator = np.random.default_rng(0)
    rise = np.round(generator.uniform(0.4, 0.6, len(test_set)), 2)
    coins = task.write(test_set, np.column_stack([1.0 - rise, rise]))
    judged = evaluate(task, test_set, coins, draws=DRAWS)
    assert judged.gains["base rate"][1][0] < 0.0
    write_evaluation(judged, tmp_path)
    assert "No evidence of skill" in (tmp_path / "report.md").read_text()


def test_what_does_not_parse_is_wrong_and_earns_least(task, test_set):
    texts = list(best_answers(task, test_set))
    texts[::2] = ["I do not know"] * len(texts[::2])
    half = evaluate(task, test_set, texts, stage="stage2", draws=DRAWS).model
    kept = test_set.take(np.arange(1, len(test_set), 2))
    whole = evaluate(task, kept, texts[1::2], stage="stage2", draws=DRAWS).model
    assert half.scores["parse_rate"] == 0.5
    assert half.scores["accuracy"] == pytest.approx(0.5 * whole.scores["accuracy"])
    assert half.scores["log_loss"] == whole.scores["log_loss"]
    least = -task.config.reward.skew_weight
    assert half.scores["reward"] == pytest.approx(0.5 * (whole.scores["reward"] + least))


def test_when_nothing_parses_the_report_says_so(task, test_set, tmp_path):
    judged = evaluate(task, test_set, ["?"] * len(test_set), draws=DRAWS)
    assert judged.model.scores["accuracy"] == 0.0 and judged.gains == {}
    assert np.isnan(judged.model.scores["log_loss"])
    write_evaluation(judged, tmp_path)
    assert "nothing to judge" in (tmp_path / "report.md").read_text()


def test_the_report_holds_everything_in_one_file(judged, tmp_path):
    page = write_evaluation(judged, tmp_path / "new", {"model": "<tiny>"}).read_text()
    assert "Reliability" in page and "best rule" in page and "&lt;tiny&gt;" in page
    assert "confidence correlation" in page and "fill sharpe" in page  # the truth is known here
    assert "closing line value" not in page  # and nothing was bet
    # What a reader in a hurry reads stands above everything else.
    lines = (tmp_path / "new" / "report.md").read_text().splitlines()
    assert lines[2].startswith("The log loss is below that of always")
    assert page.index("The log loss is below") < page.index("plotly")
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="http', page)
    record = json.loads((tmp_path / "new" / "evaluation.json").read_text())
    assert record["count"] == 600 and record["template_hash"] == judged.template_hash
    found = record["forecasts"]["model"]
    assert found["scores"]["accuracy"] == judged.model.scores["accuracy"]
    assert found["intervals"]["roc_auc"][0] < found["scores"]["roc_auc"]
    low, high = found["intervals"]["fill_sharpe"]
    assert low < found["scores"]["fill_sharpe"] < high


def test_odds_are_judged_by_the_bankroll_too():
    task = make_task(TaskConfig.model_validate({"name": "odds_winner", **SIZES}))
    examples = task.examples("test", balanced=False)
    chances = np.column_stack([examples.columns[f"bayes_chance_{k}"] for k in (0, 1)])
    judged = evaluate(task, examples, task.write(examples, chances), draws=DRAWS)
    # The bookmaker errs by 0.35 in log odds: the best rule gains, and following him does not bet.
    assert judged.model.scores["flat_roi"] > 0.0
    assert judged.model.scores["bankroll_return"] > 0.0
    assert judged.rival("market line").scores["bets"] < 10
    assert judged.gains["market line"][0] > 0.0


def football(folder, without_close=0):
    """A task on a season with opening and closing odds, some of the last closing odds missing."""
    frame = football_season()
    columns = [name for name in frame.columns if name.endswith("_close")]
    rows = frame.sort_values("kickoff").index[-without_close:] if without_close else []
    frame.loc[rows, columns] = np.nan
    frame.to_parquet(folder / "football.parquet")
    odds = {"games": str(folder / "football.parquet"), "sport": "football", "line": "open"}
    values = {"name": "odds_1x2", "source": "tables", "odds": odds}
    return make_task(TaskConfig.model_validate(values))


def test_bets_have_intervals_and_the_page_says_what_was_assumed(tmp_path):
    task = football(tmp_path)
    examples = task.examples("train", balanced=False)
    judged = evaluate(task, examples, task.write(examples, np.full(3, 1 / 3)), draws=DRAWS)
    for name in ("roi", "flat_roi", "bet_hit_rate", "closing_line_value"):
        low, high = judged.model.intervals[name]
        assert low < judged.model.scores[name] < high, name
    # Outsiders at opening odds whose margin stays: the closing line says that they lose.
    assert judged.model.intervals["closing_line_value"][1] < 0.0
    write_evaluation(judged, tmp_path)
    page = (tmp_path / "report.md").read_text()
    assert "open odds of football count as known 24 h before the start" in page
    assert re.search(r"closing line value .*\n(.*\n)*\| model \|.*% \(.* to .*%\)", page)


def test_no_interval_of_bets_on_a_few_days(tmp_path):
    task = football(tmp_path)
    examples = task.examples("train", balanced=False)
    examples = examples.take(np.arange(30))
    judged = evaluate(task, examples, task.write(examples, np.full(3, 1 / 3)), draws=DRAWS)
    betting = judged.model.betting
    assert 0 < betting.bet_days < FEWEST_BET_DAYS
    assert np.isfinite(judged.model.scores["flat_roi"])
    assert np.isnan(judged.model.intervals["flat_roi"]).all()
    resamples = Resamples(examples.stamps, np.zeros(30), DRAWS, np.random.default_rng(0))
    enough = replace(betting, bet_days=FEWEST_BET_DAYS)
    assert np.isfinite(_bet_intervals(enough, resamples)["flat_roi"]).all()


def test_a_closing_line_with_holes_is_still_shown_and_its_holes_are_said(tmp_path):
    task = football(tmp_path, without_close=7)
    examples = task.examples("test", balanced=False)
    assert np.isnan(examples.columns["closing_0"]).sum() == 7
    judged = evaluate(task, examples, task.write(examples, np.full(3, 1 / 3)), draws=DRAWS)
    assert judged.rival(LATER_LINE).scores["log_loss"] > 0.0
    lines = rival_chances(task, examples)
    same = (lines[LATER_LINE] == lines["market line"]).all(axis=1)
    assert same.tolist() == np.isnan(examples.columns["closing_0"]).tolist()
    assert any(note.startswith(f"7 of {len(examples)} games have no") for note in judged.notes)
    assert np.isfinite(judged.model.scores["closing_line_value"])


@pytest.mark.parametrize("name", ["odds_winner", "odds_spread"])
def test_prices_that_no_table_names_are_said(tmp_path, name):
    nba_season().to_parquet(tmp_path / "nba.parquet")
    odds = {"games": str(tmp_path / "nba.parquet")}
    values = {"name": name, "source": "tables", "odds": odds}
    task = make_task(TaskConfig.model_validate(values))
    examples = task.examples("test", balanced=False)
    judged = evaluate(task, examples, task.write(examples, np.full(2, 0.5)), draws=DRAWS)
    assumed = any("Both sides are bet at 1.909" in note for note in judged.notes)
    assert assumed == (name == "odds_spread")


def test_skill_of_few_answers_is_not_called_skill(task, test_set, tmp_path):
    texts = list(best_answers(task, test_set))
    texts[::2] = ["I do not know"] * len(texts[::2])
    judged = evaluate(task, test_set, texts, draws=DRAWS)
    assert judged.gains["base rate"][1][0] > 0.0
    write_evaluation(judged, tmp_path)
    page = (tmp_path / "report.md").read_text()
    assert "Only 50.0 % of the answers can be read" in page
    write_evaluation(evaluate(task, test_set, best_answers(task, test_set), draws=10), tmp_path)
    assert "Only" not in (tmp_path / "report.md").read_text()


def test_how_many_prompts_show_a_text_is_said(tmp_path):
    days = pd.bdate_range("2014-01-02", periods=260)
    close = 100.0 * np.exp(np.cumsum(0.01 * np.random.default_rng(0).standard_normal(260)))
    prices = pd.DataFrame({"symbol": "AAA", "date": days, "volume": 1e5})
    for name, factor in (("open", 1.0), ("high", 1.001), ("low", 0.999), ("close", 1.0)):
        prices[name] = factor * close
    prices.to_parquet(tmp_path / "prices.parquet")
    said = days.tz_localize("UTC") + pd.Timedelta(hours=12)
    table = pd.DataFrame({"symbol": "AAA", "created_at": said, "text": "shares rose a bit"})
    table.iloc[::2].to_parquet(tmp_path / "texts.parquet")
    stocks = {name: str(tmp_path / f"{name}.parquet") for name in ("prices", "texts")}
    values = {"source": "tables", "stocks": {**stocks, "text_hours": 12}}
    task = make_task(TaskConfig.model_validate(values))
    examples = task.examples("test", balanced=False)
    judged = evaluate(task, examples, task.write(examples, np.full(2, 0.5)), draws=DRAWS)
    share = np.mean(["News: " in prompt for prompt in examples.prompts])
    assert 0.4 < share < 0.6
    assert f"{share:.0%} of the prompts show a text" in " ".join(judged.notes)
    assert "adjusted for splits" in " ".join(judged.notes)


def test_the_first_sentence_says_of_whom_the_model_is_worse(task, test_set, tmp_path):
    rise = test_set.columns["bayes_chance"]
    wrong = task.write(test_set, np.column_stack([rise, 1.0 - rise]))
    write_evaluation(evaluate(task, test_set, wrong, draws=DRAWS), tmp_path)
    page = (tmp_path / "report.md").read_text()
    said = "It is above that of base rate, logistic regression, gradient boosting, best rule"
    assert "No evidence of skill" in page and said in page
    # A tie is neither: the regression's chances in whole percent beside the regression's.
    own = rival_chances(task, test_set)["logistic regression"]
    tied = evaluate(task, test_set, task.write(test_set, own), draws=DRAWS)
    low, high = tied.gains["logistic regression"][1]
    assert low < 0.0 < high
    write_evaluation(tied, tmp_path)
    verdict = (tmp_path / "report.md").read_text().splitlines()[2]
    assert "base rate" in verdict and "logistic regression" not in verdict


def test_the_same_seed_gives_the_same_numbers(task, test_set, judged):
    again = evaluate(task, test_set, best_answers(task, test_set), draws=DRAWS)
    assert again.model.scores == judged.model.scores
    assert again.model.intervals == judged.model.intervals
    assert again.gains == judged.gains


def test_one_answer_per_example(task, test_set):
    with pytest.raises(DataError, match="one per example"):
        evaluate(task, test_set, ["?"])
    with pytest.raises(DataError, match="rival"):
        evaluate(task, test_set, ["?"] * len(test_set), draws=10).rival("oracle")
