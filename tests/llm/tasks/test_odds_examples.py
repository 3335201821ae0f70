# SPDX-License-Identifier: Apache-2.0
"""Odds prompts know nothing that came later; bets settle as `market/settlement.py` says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mtquant.core.checked import validated
from mtquant.core.errors import ConfigError, DataError
from mtquant.llm.config import LlmConfig
from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.config import TaskConfig
from mtquant.llm.tasks.form import form_of
from mtquant.llm.tasks.games import read_games
from mtquant.llm.tasks.odds_examples import game_prompts
from mtquant.llm.tasks.templates import template_of
from mtquant.market.odds import fair_chances
from mtquant.market.settlement import RESULT_LOSE, RESULT_WIN
from tests.support.language import football_season, nba_season

TASKS = ["odds_winner", "odds_spread", "odds_total", "odds_1x2"]


def config_of(task: str, path, **odds) -> TaskConfig:
    sport = "football" if task == "odds_1x2" else "nba"
    if sport == "football":
        odds.setdefault("line", "open")
    return TaskConfig.model_validate(
        {"name": task, "source": "tables", "odds": {"games": str(path), "sport": sport, **odds}}
    )


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odds")
    nba_season().to_parquet(folder / "nba.parquet")
    football_season().to_parquet(folder / "football.parquet")
    return {task: folder / ("football" if "1x2" in task else "nba") for task in TASKS}


@pytest.fixture(scope="module")
def parts(tables):
    tasks = {task: make_task(config_of(task, f"{tables[task]}.parquet")) for task in TASKS}
    return {name: (task, task.examples("train", balanced=False)) for name, task in tasks.items()}


def prompts_of(config: TaskConfig) -> tuple:
    games = read_games(config)
    own = config.odds
    form = form_of(games.schedule, own.form_games, own.elo_step, own.home_points)
    return games, game_prompts(config, template_of(config.name, "compact"), games, form)


@pytest.mark.parametrize("task", TASKS)
def test_a_prompt_does_not_change_when_the_future_is_cut_off(task, tmp_path):
    frame = football_season() if task == "odds_1x2" else nba_season()
    path = tmp_path / "whole.parquet"
    frame.to_parquet(path)
    config = config_of(task, path)
    games, whole = prompts_of(config)
    starts = pd.to_datetime(games.schedule.local_starts, utc=True)  # football's clock is UTC
    for game in range(0, len(games), 41):
        moment = games.schedule.decided_on[game]
        # Games after this one are gone, and whatever was not over at the decision has no score.
        if task == "odds_1x2":
            cut = frame[frame["kickoff"] <= starts[game]].copy()
            over = pd.DatetimeIndex(cut["kickoff"]) + pd.Timedelta(hours=2.5)
            unknown = over > pd.Timestamp(moment, tz="UTC")
            cut.loc[unknown, ["home_goals", "away_goals"]] = 99
        else:
            day = pd.Timestamp(games.days[game])
            cut = frame[frame["date"] <= day].copy()
            cut.loc[cut["date"] == day, ["home_score", "away_score"]] = (99, 98)
        path = tmp_path / "cut.parquet"
        cut.to_parquet(path)
        fewer, prompts = prompts_of(config_of(task, path))
        same = (fewer.schedule.home == games.schedule.home[game]) & (
            fewer.schedule.local_starts == games.schedule.local_starts[game]
        )
        assert same.sum() == 1
        assert prompts[int(same.argmax())].encode() == whole[game].encode()


@pytest.mark.parametrize("task", TASKS)
def test_answers_parse_and_earn(task, parts):
    own, train = parts[task]
    scores = own.reward("stage2")(train.prompts, train.answers, train.columns)
    assert scores.parsed.all()
    np.testing.assert_allclose(sum(scores.parts.values()), scores.total)
    nothing = own.reward("stage2")(train.prompts, ["?"] * len(train), train.columns)
    assert nothing.total.max() < scores.total.min()


@pytest.mark.parametrize("task", TASKS)
def test_labels_results_and_odds_are_of_one_game(task, parts, tables):
    own, train = parts[task]
    count = len(own.classes)
    results = np.column_stack([train.columns[f"result_{k}"] for k in range(count)])
    won = results == RESULT_WIN
    assert np.array_equal(won.argmax(axis=1), train.columns["label"])
    assert (won.sum(axis=1) == 1).all() and (results[~won] == RESULT_LOSE).all()
    odds = np.column_stack([train.columns[f"odds_{k}"] for k in range(count)])
    market = np.column_stack([train.columns[f"market_{k}"] for k in range(count)])
    np.testing.assert_allclose(market, fair_chances(odds, "power"))
    frame = pd.read_parquet(f"{tables[task]}.parquet")
    row, home = 37, train.columns["home"][37]
    day = train.prompts[row][:10]
    dates = frame["kickoff" if task == "odds_1x2" else "date"].dt.strftime("%Y-%m-%d")
    game = frame[(frame["home"] == home) & (dates == day)]
    assert len(game) == 1
    if task == "odds_winner":
        assert odds[row].tolist() == [game["dec_away"].item(), game["dec_home"].item()]
        assert train.columns["label"][row] == (game["home_score"] > game["away_score"]).item()
    if task == "odds_spread":
        margin = game["home_score"] - game["away_score"] + game["spread_home"]
        assert train.columns["label"][row] == (margin > 0).item()
    if task == "odds_total":
        over = game["home_score"] + game["away_score"] > game["total"]
        assert train.columns["label"][row] == over.item()
    if task == "odds_1x2":
        assert odds[row, 1] == game["odds_draw_open"].item()
        drawn = game["home_goals"] == game["away_goals"]
        assert (train.columns["label"][row] == 1) == drawn.item()


def test_stakes_given_back_are_no_examples(tmp_path):
    frame = nba_season()
    frame["spread_home"] = (frame["away_score"] - frame["home_score"]).astype(float)
    frame.loc[: len(frame) * 9 // 10, "spread_home"] += 0.5
    frame.to_parquet(tmp_path / "push.parquet")
    task = make_task(config_of("odds_spread", tmp_path / "push.parquet"))
    whole = [len(task.examples(part, balanced=False)) for part in ("train", "validation", "test")]
    assert sum(whole) < 0.95 * len(frame)
    assert (task.examples("train", balanced=False).columns["label"] == 1).all()


@pytest.mark.parametrize("change", ["2016-03-13", "2015-11-01"])  # 23 and 25 hours long
def test_a_day_on_which_clocks_change_is_a_day_of_rest(tmp_path, change):
    frame = nba_season()
    frame["date"] += pd.Timestamp(change) - frame["date"].iloc[0] - pd.Timedelta(days=40)
    frame.to_parquet(tmp_path / "season.parquet")
    games = read_games(config_of("odds_winner", tmp_path / "season.parquet"))
    rest = form_of(games.schedule, 5, 20.0, 70.0).rest_days
    assert set(rest[8:].ravel().tolist()) == {1.0}  # all teams play every day


def test_opening_prices_that_the_table_does_not_have_are_refused():
    odds = {"games": "nba.parquet", "sport": "nba", "line": "open"}
    values = {"task": {"name": "odds_winner", "source": "tables", "odds": odds}}
    with pytest.raises(ConfigError, match=r"odds\.line must be close for nba"):
        validated(LlmConfig, values)


@pytest.mark.parametrize(
    ("task", "other"), [("odds_winner", "odds_1x2"), ("odds_1x2", "odds_spread")]
)
def test_a_table_of_another_sport_is_called_that(task, other, tables):
    with pytest.raises(DataError, match=r"must be a table of (nba|football) games; found"):
        make_task(config_of(task, f"{tables[other]}.parquet"))
