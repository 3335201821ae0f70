# SPDX-License-Identifier: Apache-2.0
"""A model's answers, judged beside simple rivals on the same outcomes.

    evaluation = evaluate(task, task.examples("test", balanced=False), completions)
    evaluation.model.scores["accuracy"], evaluation.rival("base rate").scores["log_loss"]
    write_evaluation(evaluation, folder)  # report.html, report.md, evaluation.json

There is no default prediction: an answer that does not parse is wrong in accuracy and earns the
least reward; scores of chances are over the answers that parse, and the parse rate stands beside
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import DataError
from mtquant.core.seeding import SeedTree
from mtquant.evaluation.significance.bootstrap import Interval
from mtquant.llm.baselines import base_rate, boosting_chances, logistic_chances
from mtquant.llm.evaluation.betting import BettingRun, play_bets
from mtquant.llm.evaluation.scores import (
    Resamples,
    calibration_of,
    forecast_scores,
    mean_intervals,
    row_losses,
    shape_intervals,
)
from mtquant.llm.evaluation.worth import fill_worth
from mtquant.llm.tasks.catalog import CatalogTask
from mtquant.llm.tasks.task import FEATURE_PREFIX, Examples, Scores, Stage, Task
from mtquant.rewards.calibration import Reliability

Float = NDArray[np.float64]

DRAWS = 400
FEWEST_BET_DAYS = 20  # days with a bet; below this resampled days say nothing of its returns
MODEL = "model"
TRUTH = "confidence_correlation"  # told where the data are made up
LATER_LINE = "closing line (known later)"


@dataclass(frozen=True, eq=False)
class Forecast:
    """One forecaster on the test outcomes.

    Attributes:
        name: ``"model"``, or the rival's.
        scores: Scores by name; NaN where one is not defined.
        intervals: 95 % intervals of some of them.
        calibration: Its reliability table, or None where nothing parsed.
        betting: Its bankroll, for odds tasks.
    """

    name: str
    scores: dict[str, float]
    intervals: dict[str, Interval]
    calibration: Reliability | None
    betting: BettingRun | None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The model beside its rivals.

    Attributes:
        task: Name of the task.
        template_hash: Of its prompts.
        stage: Whose reward is reported.
        count: Answers.
        forecasts: The model first.
        gains: By rival: how much lower the model's log loss is, nats per answer, with its 95 %
            interval, over the answers that parse. An interval above 0 is evidence of skill.
        completions: Some answers, as text.
        notes: What every reader has to know.
    """

    task: str
    template_hash: str
    stage: Stage
    count: int
    forecasts: tuple[Forecast, ...]
    gains: dict[str, tuple[float, Interval]]
    completions: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def model(self) -> Forecast:
        """The forecasts that are judged."""
        return self.forecasts[0]

    def rival(self, name: str) -> Forecast:
        """A rival by name.

        Raises:
            DataError: There is none of that name.
        """
        for forecast in self.forecasts:
            if forecast.name == name:
                return forecast
        known = [forecast.name for forecast in self.forecasts]
        raise DataError("rival", "must be one of the evaluation's", name, f"Known: {known}.")


def evaluate(
    task: CatalogTask,
    examples: Examples,
    completions: Sequence[str],
    *,
    stage: Stage = "stage1",
    draws: int = DRAWS,
) -> Evaluation:
    """Judges completions.

    Args:
        task: The task; its training part fits the rivals.
        examples: M examples, in order of date.
        completions: M answers, one to each prompt.
        stage: Whose reward is reported.
        draws: Resamples of the intervals.

    Raises:
        DataError: No examples, or another number of completions.
    """
    if len(examples) == 0 or len(completions) != len(examples):
        found = (len(examples), len(completions))
        raise DataError("completions", "must be one per example", found, "Sample each prompt once.")
    rewards = task.reward(stage)(examples.prompts, completions, examples.columns)
    stated, says = stated_by(task, examples, completions)
    seeds = SeedTree(task.config.seed).child("llm", "evaluation")
    judge = _Judge(task, examples, stage, draws, seeds)
    model = judge.model(stated, says, rewards)
    chances = rival_chances(task, examples)
    rivals = [judge.rival(name, forecast) for name, forecast in chances.items()]
    parsed = rewards.parsed
    gains = {}
    if parsed.any():
        labels, stamps = examples.columns["label"][parsed], examples.stamps[parsed]
        own = row_losses(stated[parsed], labels).log_losses
        for name, forecast in chances.items():
            gain = row_losses(forecast[parsed], labels).log_losses - own
            generator = seeds.child("gain", name).generator()
            interval = Resamples(stamps, gain, draws, generator).mean_interval(gain)
            gains[name] = (float(gain.mean()), interval)
    return Evaluation(
        task.name,
        task.template_hash,
        stage,
        len(examples),
        (model, *rivals),
        gains,
        tuple(_shown(examples, completions)),
        _notes(task, examples, parsed),
    )


def stated_by(
    task: Task, examples: Examples, completions: Sequence[str]
) -> tuple[Float, NDArray[np.int64]]:
    """Chances that answers state, float64 [M, K], NaN where one does not parse, and the class each
    says, int64 [M], -1 where it says none.
    """
    stated = np.full((len(examples), len(task.classes)), np.nan)
    says = np.full(len(examples), -1, dtype=np.int64)
    for row, (prompt, completion) in enumerate(zip(examples.prompts, completions, strict=True)):
        answer = task.parse(prompt, completion)
        if answer is not None:
            stated[row], says[row] = answer.chances, answer.predicted
    return stated, says


def rival_chances(task: CatalogTask, examples: Examples) -> dict[str, Float]:
    """Chances of the rivals on the examples, float64 [M, K] each, by name.

    Always the commonest class, the base rate, logistic regression and gradient boosting on the
    prompts' facts; for odds the market line and, where it is another, the closing line; for
    synthetic tasks the best rule. Where a game has no closing price, the closing line is the market
    line.
    """
    train, count, classes = task.parts["train"], len(examples), len(task.classes)
    base = base_rate(train, classes)
    common = int(base.argmax())
    chances = {
        f"always {task.classes[common]}": np.tile(np.eye(classes)[common], (count, 1)),
        "base rate": np.tile(base, (count, 1)),
        "logistic regression": logistic_chances(train, examples, classes),
        "gradient boosting": boosting_chances(train, examples, classes, task.config.seed),
    }
    offered = "closing line" if _offers_close(task) else "market line"
    for name, column in ((offered, "market"), (LATER_LINE, "closing")):
        if f"{column}_0" in examples.columns:
            line = np.column_stack([examples.columns[f"{column}_{k}"] for k in range(classes)])
            unknown = ~np.isfinite(line).all(axis=1, keepdims=True)
            chances[name] = np.where(unknown, chances.get(offered, line), line)
    if "bayes_chance_0" in examples.columns:
        columns = [examples.columns[f"bayes_chance_{k}"] for k in range(classes)]
        chances["best rule"] = np.column_stack(columns)
    elif "bayes_chance" in examples.columns:
        rise = examples.columns["bayes_chance"]
        chances["best rule"] = np.column_stack([1.0 - rise, rise])
    return chances


def _offers_close(task: CatalogTask) -> bool:
    """Whether the prices that are bet at are the last before the start."""
    return task.config.source == "tables" and task.config.odds.line == "close"


@dataclass(frozen=True)
class _Judge:
    """Scores forecasters on the same examples."""

    task: CatalogTask
    examples: Examples
    stage: Stage
    draws: int
    seeds: SeedTree

    def model(self, stated: Float, says: NDArray[np.int64], rewards: Scores) -> Forecast:
        """The model: as a forecaster of the answers that parse, and with what its texts earned."""
        parsed = rewards.parsed
        forecast = self._forecast(MODEL, stated[parsed], parsed, says[parsed])
        scores = forecast.scores
        rate = float(parsed.mean())
        # An answer that does not parse is wrong, whatever it meant.
        scores["accuracy"] = scores["accuracy"] * rate if rate > 0.0 else 0.0
        if "accuracy" in forecast.intervals:
            low, high = forecast.intervals["accuracy"]
            forecast.intervals["accuracy"] = (low * rate, high * rate)
        self._add_rewards(forecast, rewards)
        scores[TRUTH] = self._truth_correlation(stated, says)
        return forecast

    def rival(self, name: str, chances: Float) -> Forecast:
        """A rival: its reward is that of an answer in good form with its chances."""
        forecast = self._forecast(name, chances, np.ones(len(chances), dtype=np.bool_))
        forecast.scores[TRUTH] = self._truth_correlation(chances, chances.argmax(axis=1))
        written = self.task.write(self.examples, chances)
        reward = self.task.reward(self.stage)
        self._add_rewards(forecast, reward(self.examples.prompts, written, self.examples.columns))
        return forecast

    def _forecast(
        self,
        name: str,
        chances: Float,
        rows: NDArray[np.bool_],
        says: NDArray[np.int64] | None = None,
    ) -> Forecast:
        part = self.examples.take(rows)
        labels, seeds = part.columns["label"], self.seeds.child(name)
        scores, intervals = forecast_scores(chances, labels, says), {}
        calibration = betting = None
        if len(labels):
            calibration = calibration_of(chances, labels)
            losses = row_losses(chances, labels, says)
            generator = seeds.generator()
            resamples = Resamples(part.stamps, losses.log_losses, self.draws, generator)
            intervals = mean_intervals(losses, resamples)
            if name == MODEL:
                intervals |= shape_intervals(chances, labels, resamples)
            if "odds_0" in part.columns:
                betting = play_bets(chances, part.columns, part.stamps, self.task.config.betting)
                scores |= betting.summary()
                intervals |= _bet_intervals(betting, resamples)
            if "fill_return" in part.columns:
                worth = fill_worth(chances, part.columns, part.stamps, seeds.integer())
                scores, intervals["fill_sharpe"] = scores | worth[0], worth[1]
        return Forecast(name, scores, intervals, calibration, betting)

    def _add_rewards(self, forecast: Forecast, rewards: Scores) -> None:
        """Mean reward, its interval and parts, parse rate, and the reasoning's scores in [0, 1]."""
        generator = self.seeds.child(forecast.name, "reward").generator()
        config = self.task.config.reward
        forecast.scores["reward"] = float(rewards.total.mean())
        forecast.scores["parse_rate"] = float(rewards.parsed.mean())
        for name, part in rewards.parts.items():
            forecast.scores[f"reward_{name}"] = float(part.mean())
        for name, weight in (
            ("data_usage", config.data_usage_weight),
            ("coherence", config.coherence_weight),
        ):
            earned = float(rewards.parts[name].mean())
            forecast.scores[name] = earned / weight if weight > 0.0 else float("nan")
        resamples = Resamples(self.examples.stamps, rewards.total, self.draws, generator)
        forecast.intervals["reward"] = resamples.mean_interval(rewards.total)

    def _truth_correlation(self, stated: Float, says: NDArray[np.int64]) -> float:
        """Correlation of stated confidence with the true chance of what was said; NaN where the
        truth is not known or nobody varies.
        """
        columns, classes = self.examples.columns, stated.shape[1]
        if "bayes_chance" in columns:
            true = np.column_stack([1.0 - columns["bayes_chance"], columns["bayes_chance"]])
        elif "bayes_chance_0" in columns:
            true = np.column_stack([columns[f"bayes_chance_{k}"] for k in range(classes)])
        else:
            return float("nan")
        rows = np.flatnonzero(says >= 0)
        pair = [chances[rows, says[rows]] for chances in (stated, true)]
        if len(rows) < 2 or min(part.std() for part in pair) < 1e-12:
            return float("nan")
        return float(np.corrcoef(pair[0], pair[1])[0, 1])


def _without_close(examples: Examples) -> int:
    return int(np.isnan(np.asarray(examples.columns["closing_0"])).sum())


def _shown(examples: Examples, completions: Sequence[str], count: int = 4) -> list[str]:
    """Some prompts with their answers, evenly spread over time."""
    rows = np.unique(np.linspace(0, len(examples) - 1, count).astype(int))
    return [examples.prompts[row] + completions[row] for row in rows]


def _bet_intervals(betting: BettingRun, resamples: Resamples) -> dict[str, Interval]:
    """95 % intervals of what is a mean over bets; NaN where they fell on too few days."""
    if betting.bet_days < FEWEST_BET_DAYS:
        return dict.fromkeys(betting.ratios, (float("nan"), float("nan")))
    return {name: resamples.ratio_interval(*ratio) for name, ratio in betting.ratios.items()}


def _notes(task: CatalogTask, examples: Examples, parsed: NDArray[np.bool_]) -> tuple[str, ...]:
    notes = [
        f"{int((~parsed).sum())} of {len(parsed)} answers do not parse; they count as wrong and"
        " earn the least reward, and scores of chances leave them out.",
        "Rivals are fitted on the training part; their rewards are those of answers in good form.",
        *task.notes,
    ]
    if "closing_0" in examples.columns and (without := _without_close(examples)):
        notes.append(
            f"{without} of {len(examples)} games have no closing price: there the closing line is"
            " the market line, and bets count in no closing-line value."
        )
    if f"{FEATURE_PREFIX}texts" in examples.columns:
        shown = float((examples.columns[f"{FEATURE_PREFIX}texts"] > 0.0).mean())
        notes.append(f"{shown:.0%} of the prompts show a text; the others have prices alone.")
    if task.config.source == "synthetic":
        notes.append("The data are made up, and the best rule is known.")
    elif task.name == "stock_direction":
        notes.append("The label is close to close; worth is from open to open, before costs.")
    return tuple(notes)
