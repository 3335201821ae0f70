# SPDX-License-Identifier: Apache-2.0
"""Small worlds for language-model tasks: bars with texts, and seasons of games."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mtquant.data.bars import Bars
from mtquant.data.events import Events

DAY = 86_400


def daily_bars(symbol: str = "AAA", count: int = 260, seed: int = 0) -> Bars:
    """A random walk of New York sessions."""
    generator = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(0.01 * generator.standard_normal(count)))
    opened = np.roll(close, 1) * np.exp(0.002 * generator.standard_normal(count))
    opened[0] = close[0]
    frame = pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": generator.uniform(1e5, 2e5, count),
        },
        index=pd.bdate_range("2014-01-02", periods=count),
    )
    return Bars.from_frame(frame, symbol, "USD", "session", DAY, "America/New_York", "16:00")


def texts_for(bars: Bars, per_day: int = 2, seed: int = 0) -> Events:
    """Texts at random hours, some before and some after each close."""
    generator = np.random.default_rng(seed)
    offsets = generator.integers(-12 * 3_600, 12 * 3_600, size=(len(bars), per_day))
    stamps = (bars.stamps[:, None] + offsets * 1_000_000_000).ravel()
    frame = pd.DataFrame(
        {
            "symbol": bars.symbol,
            "created_at": pd.to_datetime(stamps, utc=True),
            "text": [f"text {k} says shares rose" for k in range(len(stamps))],
        }
    )
    return Events.from_frame(
        frame, "texts", known_at="created_at", symbol="symbol", columns=["text"]
    )


def nba_season(games: int = 400, seed: int = 0) -> pd.DataFrame:
    """Games in the format of `odds/nba.parquet`, four a day."""
    generator = np.random.default_rng(seed)
    teams = [f"T{k}" for k in range(8)]
    rows = []
    for game in range(games):
        if game % 4 == 0:
            playing = generator.permutation(teams)
        home, away = playing[2 * (game % 4)], playing[2 * (game % 4) + 1]
        scores = generator.integers(85, 125, size=2)
        scores[0] += scores[0] == scores[1]
        chance = generator.uniform(0.25, 0.75)
        rows.append(
            {
                "date": pd.Timestamp("2015-10-30") + pd.Timedelta(days=game // 4),
                "home": home,
                "away": away,
                "home_score": scores[0],
                "away_score": scores[1],
                "spread_home": generator.integers(-9, 9) + 0.5 * generator.integers(2),
                "total": 200.5 + generator.integers(20),
                "dec_home": round(1 / (1.04 * chance), 2),
                "dec_away": round(1 / (1.04 * (1 - chance)), 2),
            }
        )
    return pd.DataFrame(rows)


def football_season(games: int = 400, seed: int = 0) -> pd.DataFrame:
    """Matches in the format of `odds/football.parquet`, some overlapping in time."""
    generator = np.random.default_rng(seed)
    teams = [f"Club {k}" for k in range(8)]
    kickoff, rows = pd.Timestamp("2015-08-01 12:00", tz="UTC"), []
    for game in range(games):
        if game % 4 == 0:
            kickoff += pd.Timedelta(days=1)
            playing = generator.permutation(teams)
        chances = generator.dirichlet((6.0, 4.0, 5.0))
        drifted = 0.95 * chances + 0.05 / 3
        row = {
            "kickoff": kickoff + pd.Timedelta(hours=game % 4),
            "country": "england",
            "home": playing[2 * (game % 4)],
            "away": playing[2 * (game % 4) + 1],
            "home_goals": generator.integers(4),
            "away_goals": generator.integers(4),
        }
        for k, side in enumerate(("home", "draw", "away")):
            row[f"odds_{side}_open"] = round(1 / (1.05 * drifted[k]), 2)
            row[f"odds_{side}_close"] = round(1 / (1.05 * chances[k]), 2)
        rows.append(row)
    return pd.DataFrame(rows)
