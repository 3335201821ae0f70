# SPDX-License-Identifier: Apache-2.0
"""The sections `data` and `features`: which bars, how they are split, and what is seen of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, NonNegativeInt, model_validator

from mtquant.core.checked import Section, ZoneName, did_you_mean
from mtquant.core.errors import ConfigError
from mtquant.core.lengths import length_seconds
from mtquant.core.synthetic_config import SyntheticConfig

BUNDLED_INSTRUMENTS = ("SPX500", "NAS100", "WTIUSD")
CURRENCIES = ("EURUSD", "GBPUSD", "USDJPY")
PREDICTED = "predicted_up"  # the feature that `features.signals` brings
SPEC_INSTRUMENTS = (*CURRENCIES, "XAUUSD", "WTIUSD", "SPX500", "NAS100", "US30")


def _refuse_repeats(field: str, names: Sequence[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(field, "must not repeat a name", repeated, "Delete the repetition.")


def _default_instruments(values: dict[str, Any]) -> tuple[str, ...]:
    return BUNDLED_INSTRUMENTS if values.get("source") == "bundled" else SPEC_INSTRUMENTS


Period = tuple[AwareDatetime, AwareDatetime]


class PeriodsConfig(Section):
    """A split by dates, as walk-forward evaluation makes them.

    A period is ``[first, end]``, ISO 8601 with an offset: bars whose close stamp is at `first` or
    later and before `end`.

    Attributes:
        train: One stretch or several, in order of time.
        validation: Where the best checkpoint is chosen.
        test: What is measured.
    """

    train: Annotated[tuple[Period, ...], Field(min_length=1)]
    validation: Period
    test: Period

    @model_validator(mode="after")
    def _periods_are_apart(self) -> Self:
        everything = [*self.train, self.validation, self.test]
        for first, end in everything:
            if not first < end:
                rule, found = "must begin before they end", [str(first), str(end)]
                raise ConfigError("data.periods", rule, found, "Exchange the two.")
        for (_, end), (first, _) in pairwise(sorted(everything)):
            if end > first:
                rule, found = "must not overlap", [str(first), str(end)]
                raise ConfigError("data.periods", rule, found, "End the earlier one sooner.")
        if list(self.train) != sorted(self.train):
            rule, found = "must be in order of time", [str(first) for first, _ in self.train]
            raise ConfigError("data.periods.train", rule, found, "Sort them.")
        return self


class DataConfig(Section):
    """Which bars, and how they are split in time.

    Attributes:
        source: ``"bundled"`` takes the daily series that the `arch` package carries, ``"yahoo"``
            what ``mtquant data download`` cached, downloading once what is not, ``"synthetic"``
            makes bars up; the others read files.
        folder: Where the files are; for ``"yahoo"`` the cache, left out ``data/yahoo``.
        instruments: Symbols of `config/instruments.yaml`; left out, all that the bundled source
            has, else the spec's eight.
        files: File name per symbol where it is not ``SYMBOL.parquet`` (or ``.csv``).
        stamped: What a row's stamp is: the bar's ``"open"``, its ``"close"``, or the
            ``"session"``'s calendar date, which becomes the session's close. Parquet files that
            mtquant wrote know it themselves.
        timezone: IANA name of the clock that stamps without an offset from UTC were written by;
            null where the stamps have offsets. Session dates need none.
        bar: Length of a bar: ``"1d"``, ``"1h"``, ``"15min"``.
        train_frac: Oldest share of the rows, for learning.
        validation_frac: The share after it, for choosing; the rest is the test.
        purge_bars: Rows dropped at the end of a split because what follows them reaches into the
            next one.
        embargo_bars: Rows dropped at the start of a split because features still remember the one
            before.
        periods: A split by dates in place of the shares, purge and embargo, which are not read
            then; null for none.
        synthetic: What is made up, for ``source: synthetic``.
    """

    source: Literal["bundled", "synthetic", "yahoo", "parquet", "csv"] = "bundled"
    folder: str | None = None
    instruments: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        default_factory=_default_instruments
    )
    files: Mapping[str, str] = Field(default_factory=dict)
    stamped: Literal["open", "close", "session"] = "session"
    timezone: ZoneName | None = None
    bar: Annotated[str, Field(pattern=r"^[1-9][0-9]*(min|h|d)$")] = "1d"
    train_frac: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.6
    validation_frac: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    purge_bars: NonNegativeInt = 5
    embargo_bars: NonNegativeInt = 5
    periods: PeriodsConfig | None = None
    synthetic: SyntheticConfig = SyntheticConfig()

    @property
    def bar_seconds(self) -> int:
        """Length of a bar, seconds."""
        return length_seconds(self.bar, "data.bar", ConfigError)

    @model_validator(mode="after")
    def _source_and_files_fit(self) -> Self:
        # Symbols of `files` are checked first: a misspelt one has the better message.
        for symbol in self.files:
            if symbol not in self.instruments:
                raise ConfigError(
                    f"data.files.{symbol}",
                    "must name a symbol of data.instruments",
                    list(self.instruments),
                    did_you_mean(symbol, self.instruments),
                )
        idle = {
            "bundled": ("folder", "files", "stamped", "timezone", "bar"),
            "synthetic": ("folder", "files", "stamped", "timezone"),
            "yahoo": ("files", "stamped", "timezone"),
        }
        for name in idle.get(self.source, ()):
            default = DataConfig.model_fields[name].get_default(call_default_factory=True)
            if getattr(self, name) != default:
                raise ConfigError(
                    f"data.{name}",
                    f"is not read by source: {self.source}",
                    getattr(self, name),
                    f"Set data.source to parquet or csv, or leave data.{name} out.",
                )
        if self.folder is None and self.source in ("parquet", "csv"):
            raise ConfigError(
                "data.folder",
                f"is required for source: {self.source}",
                None,
                "Set data.folder to the folder of the files.",
            )
        if self.timezone is not None and self.stamped == "session":
            raise ConfigError(
                "data.timezone",
                "has no effect on session dates",
                self.timezone,
                "Leave it out, or set data.stamped to open or close.",
            )
        return self

    @model_validator(mode="after")
    def _splits_and_symbols_hold(self) -> Self:
        if self.train_frac + self.validation_frac >= 1.0:
            raise ConfigError(
                "data.validation_frac",
                "must leave rows for the test: train_frac + validation_frac < 1",
                [self.train_frac, self.validation_frac],
                "Lower data.train_frac or data.validation_frac.",
            )
        _refuse_repeats("data.instruments", self.instruments)
        return self


class FeaturesConfig(Section):
    """What a policy sees of the bars.

    Attributes:
        catalog: Feature names, in the order of the observation; ``"rsi_14@1d"`` is computed on
            daily bars made of the shorter ones.
        user: ``"package.module:object"``, a `FeatureRegistry` of your own features, which `catalog`
            may then name; None for none. Importing the module runs its code, with your rights.
        signals: Parquet table of predictions and when each became known (`mtquant llm predict`
            writes one); ``predicted_up`` in the catalog is the last one known.
    """

    catalog: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "log_return_1",
        "log_return_5",
        "log_return_20",
        "volatility_20",
        "volatility_60",
        "rsi_14",
        "macd_12_26_9",
        "bollinger_20",
        "atr_14",
        "stochastic_14",
        "zscore_50",
        "drawdown_60",
        "range_position_20",
    )
    user: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    signals: str | None = None

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        _refuse_repeats("features.catalog", self.catalog)
        return self

    @model_validator(mode="after")
    def _predictions_have_a_table(self) -> Self:
        named = PREDICTED in {name.partition("@")[0] for name in self.catalog}
        if named and self.signals is None and self.user is None:
            remedy = "For example features.signals=models/llm/run/signals.parquet."
            rule = f"must name the table of predictions that {PREDICTED} reads"
            raise ConfigError("features.signals", rule, None, remedy)
        if self.signals is not None and not named:
            rule = f"has no effect while features.catalog does not name {PREDICTED}"
            remedy = f"Add {PREDICTED} to features.catalog, or leave the table out."
            raise ConfigError("features.signals", rule, self.signals, remedy)
        return self
