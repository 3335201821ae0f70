# SPDX-License-Identifier: Apache-2.0
"""The section `task`: which prediction problem, from which data, and what an answer is worth."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from mtquant.core.checked import Section
from mtquant.core.data_config import DataConfig

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]
TaskName = Literal["stock_direction", "odds_winner", "odds_spread", "odds_total", "odds_1x2"]


class AnswerConfig(Section):
    """How reference answers for supervised training are written.

    Attributes:
        confidence: Where their confidence comes from. ``"informative"``: how sure the best known
            forecast is (the Bayes chance of synthetic tasks; a logistic regression fitted on the
            training part for real ones), with noise. ``"random"``: uniform between 50 and 95 %,
            so that everything about confidence is left to reinforcement learning.
        prediction: ``"outcome"`` says what happened, so a model that imitates samples each answer
            as often as it is right; ``"likely"`` says the side that the best forecast favours.
        step_percent: Stated confidences are multiples of it. Coarse steps are fewer tokens to
            choose from, so what each is worth is learned faster. The chances of `odds_1x2` are
            whole percents.
        noise_percent: Standard deviation of the noise on an informative confidence.
    """

    confidence: Literal["informative", "random"] = "informative"
    prediction: Literal["outcome", "likely"] = "outcome"
    step_percent: Annotated[int, Field(ge=1, le=25)] = 5
    noise_percent: NonNegativeFloat = 5.0


class SyntheticTaskConfig(Section):
    """Made-up examples with a known best answer.

    Attributes:
        train, validation, test: Examples in each part.
        momentum: AR(1) coefficient of the daily change; 0.85 gives a Bayes accuracy of 0.82. For
            odds tasks it is not used.
        volatility_percent: Standard deviation of a daily change.
        drift_percent: Mean of a daily change; above 0 rises are more frequent than falls.
        market_noise: Odds tasks: standard deviation of the market's error in log odds.
    """

    train: PositiveInt = 20_000
    validation: PositiveInt = 2_000
    test: PositiveInt = 4_000
    momentum: Annotated[float, Field(gt=-1.0, lt=1.0)] = 0.85
    volatility_percent: Annotated[float, Field(gt=0.0, le=10.0)] = 2.0
    drift_percent: float = 0.0
    market_noise: NonNegativeFloat = 0.35


class StocksConfig(Section):
    """Real prices and texts.

    Attributes:
        prices: Parquet table of daily prices (columns symbol, date, open, high, low, close,
            volume).
        texts: Parquet table of texts (symbol, created_at, text), or null.
        companies: Parquet table of names (symbol, company), or null.
        symbols: Those used; empty: all that have prices.
        session_timezone, session_close: When a day's last price is known.
        max_texts: Latest texts shown in a prompt.
        text_hours: How far back they may be.
        text_characters: A longer text is cut here.
        neutral_percent: Examples whose close-to-close change is at most this are left out of the
            balanced training set (the dataset's paper uses -0.5 % to 0.55 %).
        indicators: Features of the catalogue shown in the prompt; the longest warm-up among them
            is lost at the start of each stock.
        every_days: Take every n-th day of each symbol; 1 uses all.
    """

    prices: str | None = None
    texts: str | None = None
    companies: str | None = None
    symbols: tuple[str, ...] = ()
    session_timezone: str = "America/New_York"
    session_close: str = "16:00"
    max_texts: NonNegativeInt = 3
    text_hours: PositiveInt = 24
    text_characters: Annotated[int, Field(ge=20)] = 140
    neutral_percent: NonNegativeFloat = 0.0
    indicators: tuple[str, ...] = (
        "momentum_20",
        "volatility_20",
        "range_position_20",
        "volume_zscore_50",
    )
    every_days: PositiveInt = 1


class OddsConfig(Section):
    """Real games and lines.

    Attributes:
        games: Parquet table of games (formats: `docs/llm-tasks.md`).
        sport: ``"nba"``: two outcomes, spread and total; ``"football"``: home, draw, away.
        line: Which of the table's prices is shown and bet at: ``"close"``, known at the start, or
            ``"open"`` (football only).
        open_hours: How long before the start opening prices count as known: the table does not
            say. The decision is then made at that moment, with the results known by then.
        devig: How the bookmaker's margin is taken out (`mtquant.market.odds.fair_chances`).
        form_games: Last games of each team that are summarised.
        elo_step: Elo points that one surprise moves a team.
        home_points: Elo points that playing at home is worth.
        price_spread_total: Decimal odds of spread and total bets, where the table has none.
    """

    games: str | None = None
    sport: Literal["nba", "football"] = "nba"
    line: Literal["open", "close"] = "close"
    open_hours: PositiveInt = 24
    devig: Literal["multiplicative", "power", "shin"] = "power"
    form_games: PositiveInt = 5
    elo_step: PositiveFloat = 20.0
    home_points: NonNegativeFloat = 70.0
    price_spread_total: Annotated[float, Field(gt=1.0)] = 1.909


class TaskSplitConfig(Section):
    """Train, validation and test by date.

    Attributes:
        first_day, last_day: Decisions before or after these days (UTC) are left out; null: none.
            Texts often cover less time than prices.
        train_frac, validation_frac: Shares of the time span; the rest is the test.
        purge_days: Decision days dropped at the end of a part, since their outcome falls later.
        embargo_days: Decision days dropped at the start of a part.
    """

    first_day: date | None = None
    last_day: date | None = None
    train_frac: Fraction = 0.6
    validation_frac: Fraction = 0.2
    purge_days: NonNegativeInt = 2
    embargo_days: NonNegativeInt = 5


class BettingConfig(Section):
    """How stated chances become stakes.

    Attributes:
        kelly_fraction: Part of the Kelly stake.
        max_stake_frac: Largest single stake, fraction of the bankroll.
        max_day_frac: Most that is staked on one day, fraction of the bankroll; more is scaled down.
        bankroll: Money at the start.
        commission_frac: Share of each profit that an exchange keeps.
        min_edge: A game is bet on only if chance x odds - 1 of an outcome is above this.
    """

    kelly_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    max_stake_frac: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    max_day_frac: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    bankroll: PositiveFloat = 1_000.0
    commission_frac: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    min_edge: NonNegativeFloat = 0.0


class TaskRewardConfig(Section):
    """What an answer is worth.

    Attributes:
        accuracy_weight, data_usage_weight, coherence_weight: Spec 002: 0.6, 0.2 and 0.2.
        score: Proper score of the stated confidence: ``"brier"``, or ``"log"``, which pays more for
            telling prompts apart where chances are far from one half.
        skew_weight: Stage II: what beating the base rate's score is worth.
        score_weight, growth_weight: Spec 000's lambda 1 and lambda 2.
        risk_weights: Terms of `mtquant.rewards` on the staked wealth in order of date, such as
            ``{"drawdown": 1.0, "tail_loss": 1.0, "differential_sharpe": 0.1}``; empty: none.
        max_reasoning_characters: A longer reasoning loses its shape's share and its data usage.
    """

    accuracy_weight: PositiveFloat = 0.6
    data_usage_weight: NonNegativeFloat = 0.2
    coherence_weight: NonNegativeFloat = 0.2
    score: Literal["brier", "log"] = "brier"
    skew_weight: NonNegativeFloat = 0.3
    score_weight: PositiveFloat = 1.0
    growth_weight: NonNegativeFloat = 1.0
    risk_weights: dict[str, float] = Field(default_factory=dict)
    max_reasoning_characters: PositiveInt = 600


class TaskConfig(Section):
    """One task.

    Attributes:
        name: Which problem.
        source: ``"synthetic"``: made up, with a known best answer; ``"tables"``: parquet tables;
            ``"bars"``: the project's own bars, for `stock_direction`.
        template: ``"compact"``: facts only, short enough for models trained from nothing;
            ``"instructed"``: with the instruction that a pretrained model needs.
        days: Days of prices in a stock prompt.
        seed: Root of every draw.
        data: Which bars, for ``source: bars``: files, Yahoo, bundled or synthetic series, as
            everywhere in the project. Its split is not used: `split` is.
        instruments: File of the bars' instruments; null: the one that ships.
    """

    name: TaskName = "stock_direction"
    source: Literal["synthetic", "tables", "bars"] = "synthetic"
    template: Literal["compact", "instructed"] = "compact"
    days: Annotated[int, Field(ge=3, le=60)] = 4
    seed: NonNegativeInt = 0
    data: DataConfig = DataConfig()
    instruments: str | None = None
    answer: AnswerConfig = AnswerConfig()
    synthetic: SyntheticTaskConfig = SyntheticTaskConfig()
    stocks: StocksConfig = StocksConfig()
    odds: OddsConfig = OddsConfig()
    split: TaskSplitConfig = TaskSplitConfig()
    betting: BettingConfig = BettingConfig()
    reward: TaskRewardConfig = TaskRewardConfig()

    @model_validator(mode="after")
    def _source_fits(self) -> Self:
        if self.source == "bars" and self.name != "stock_direction":
            raise ValueError("source must be synthetic or tables for odds: bars have no games")
        if self.source == "tables" and self._table() is None:
            field = "stocks.prices" if self.name == "stock_direction" else "odds.games"
            raise ValueError(f"source: tables must name the table in {field}")
        odds = self.odds
        if self.source == "tables" and (odds.sport, odds.line) == ("nba", "open"):
            raise ValueError("odds.line must be close for nba: its table has no opening prices")
        games = self.source == "tables" and self.name != "stock_direction"
        sport = "football" if self.name == "odds_1x2" else "nba"
        if games and self.odds.sport != sport:
            raise ValueError(f"odds.sport must be {sport} for {self.name}")
        return self

    def _table(self) -> str | None:
        return self.stocks.prices if self.name == "stock_direction" else self.odds.games
