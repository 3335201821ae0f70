# SPDX-License-Identifier: Apache-2.0
"""An evaluation tells the best rule from chance, and counts what does not parse."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from mtquant.core.errors import DataError
from mtquant.llm.evaluation.evaluate import evaluate
from mtquant.llm.evaluation.report import write_evaluation
from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.config import TaskConfig

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
    assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="http', page)
    record = json.loads((tmp_path / "new" / "evaluation.json").read_text())
    assert record["count"] == 600 and record["template_hash"] == judged.template_hash
    found = record["forecasts"]["model"]
    assert found["scores"]["accuracy"] == judged.model.scores["accuracy"]
    assert found["intervals"]["roc_auc"][0] < found["scores"]["roc_auc"]


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
