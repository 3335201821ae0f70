# SPDX-License-Identifier: Apache-2.0
"""Trained models in paper trading: which bars, which broker, which model, and the loop over them.

loop = paper_loop(config, instruments, PaperPlan(ledger=Path("data/paper/demo.sqlite"),
                  models=Path("models/checkpoints/phase3"), feed="replay"))
loop.run()
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mtquant.agents.ensemble import SpecialistEnsemble
from mtquant.agents.hierarchy import HierarchyPolicy
from mtquant.core.config import Config
from mtquant.core.errors import ConfigError
from mtquant.core.protocols import Policy
from mtquant.data.bars import NANOSECONDS, Bars
from mtquant.data.instruments import Instrument, instrument_of
from mtquant.data.yahoo.cache import DEFAULT_FOLDER
from mtquant.data.yahoo.download import YahooDownloader
from mtquant.data.yahoo.frames import DELAY_NS
from mtquant.features.timeframes import TimeframePipeline, without_ages
from mtquant.learning.threads import use_threads
from mtquant.market.live_tape import LiveTape
from mtquant.market.observation import ObservationLayout
from mtquant.market.rules import Rules
from mtquant.paper.alerts import Alerts
from mtquant.paper.broker import Broker
from mtquant.paper.feeds import Delivery, Feed, Replay, SyntheticFeed
from mtquant.paper.loop import PaperLoop
from mtquant.paper.opening import MakeBroker, open_loop
from mtquant.paper.reading import meta, reader
from mtquant.paper.seats import Model, Models
from mtquant.paper.sim_broker import SimBroker
from mtquant.paper.terms import Terms
from mtquant.paper.wire import RemoteBroker
from mtquant.paper.yahoo_feed import YahooFeed
from mtquant.rewards.compose import STATE_NAMES, Reward
from mtquant.workflows.backtesting import Market, check_unseen
from mtquant.workflows.models import load_trained

if TYPE_CHECKING:
    from mtquant.paper.oanda.broker import OandaBroker

FeedKind = Literal["replay", "yahoo", "synthetic"]
SYNTHETIC_VOLATILITY = 0.001


@dataclass(frozen=True)
class PaperPlan:
    """What a paper account is to do.

    Attributes:
        ledger: Its file.
        models: Folder of the model that trades first; an old ledger knows its own.
        feed: Where bars come from. ``"replay"``: those of the configuration, from the beginning of
            `part` on. ``"yahoo"``: as they close. ``"synthetic"``: made up behind the configured
            ones.
        part: Of a replay, ``"test"`` or ``"validation"``.
        bars_per_second: Speed of a replay or of made-up bars; None for as fast as possible.
        broker: ``"oanda"``; or the socket of a simulated broker in another process; None for one in
            this.
    """

    ledger: Path
    models: Path
    feed: FeedKind = "replay"
    part: str = "test"
    bars_per_second: float | None = None
    broker: Path | Literal["oanda"] | None = None


def paper_loop(config: Config, instruments: Mapping[str, Instrument], plan: PaperPlan) -> PaperLoop:
    """A loop that is ready to run: a new account, or the one of the ledger as it was left.

    Raises:
        ConfigError: The rules fill at the close, which no market does; made-up or old bars at a
            broker of the real world; an account that cannot be traded.
        CheckpointError: The model cannot be used.
        RunError: The ledger is in use, damaged, or of another account.
    """
    if config.environment.fill_at != "open":
        rule, remedy = "must be open in paper trading", "Leave environment.fill_at at open."
        raise ConfigError("environment.fill_at", rule, config.environment.fill_at, remedy)
    use_threads(config.training.torch_threads)
    known, traded = _known(plan.ledger)
    market = Market.build(config, instruments, plan.part)
    broker, make_broker = _broker(config, instruments, market.rules, plan, traded)
    terms = replace(_terms(config, market, known), broker=broker, feed=plan.feed)
    models = model_source(config, instruments, market.panel.symbols, terms.bars_per_year)
    if not traded and plan.feed == "replay":
        trained = load_trained(plan.models, config, instruments)
        check_unseen(trained, market, plan.part, plan.models)
    feed, live = _feed(config, instruments, market, plan)
    limit = config.guard.max_data_age_bars
    return open_loop(
        plan.ledger,
        terms,
        lambda: _history(market, plan),
        feed,
        make_broker,
        models,
        str(plan.models),
        Alerts(plan.ledger.with_name(plan.ledger.name + ".alerts.jsonl"), terms.name),
        max_age_bars=limit if live and limit is not None else math.inf,
        commit_answers=live or plan.bars_per_second is not None,
    )


def model_source(
    config: Config,
    instruments: Mapping[str, Instrument],
    symbols: Sequence[str],
    bars_per_year: float,
) -> Models:
    """Loads trained models by their folders."""

    def load(path: str) -> Model:
        trained = load_trained(Path(path), config, instruments)
        names = without_ages(trained.policy.feature_names)
        pipeline = TimeframePipeline.from_config(config, instruments, symbols, names)
        terms, scale = trained.terms(config), trained.reward_scale
        reward = Reward.from_config(config.reward, terms, scale, bars_per_year)
        digest = hashlib.sha256(json.dumps(sorted(trained.weights.items())).encode()).hexdigest()
        mean, deviation = training_range(trained.policy, symbols)
        return Model(path, digest, trained.policy, pipeline, reward, mean, deviation)

    return load


def training_range(
    policy: Policy, symbols: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation in training of every entry of a portfolio's observation, float64
    [entries], from the specialists' scalers; NaN for what is no feature of theirs.
    """
    layout = ObservationLayout(
        tuple(symbols), policy.feature_names, policy.window_bars, STATE_NAMES
    )
    places = {name: k for k, name in enumerate(layout.names())}
    mean = np.full(layout.size, np.nan)
    deviation = np.full(layout.size, np.nan)
    for names, own in _scalers(policy):
        for name, middle, unit in zip(names, own["mean"], own["scale"], strict=True):
            if _feature_of(name) in policy.feature_names and name in places:
                mean[places[name]], deviation[places[name]] = middle, unit
    return mean, deviation


def _feature_of(name: str) -> str:
    return name.partition(".")[2].partition("[")[0]


def _scalers(policy: Policy) -> list[tuple[Sequence[str], dict[str, NDArray[np.float64]]]]:
    """Entries and scaler of every specialist's view."""
    if isinstance(policy, HierarchyPolicy):
        named = zip(policy.manifest.domains, policy.view_names(), strict=True)
        views = [(names, policy.weights[owner]) for owner, names in named]
    elif isinstance(policy, SpecialistEnsemble):
        views = [(own.manifest.entries, own.weights) for own in policy.specialists.values()]
    else:
        return []
    found: list[tuple[Sequence[str], dict[str, NDArray[np.float64]]]] = []
    for names, weights in views:
        scaler = {
            part: weights[f"features_extractor.{part}"].double().numpy().reshape(-1)
            for part in ("mean", "scale")
            if f"features_extractor.{part}" in weights
        }
        if len(scaler) == 2:
            found.append((names, scaler))
    return found


def _known(ledger: Path) -> tuple[dict[str, Any], bool]:
    """What an old ledger says of itself, empty for a new one; and whether it has traded: its maker
    may have been killed before it could.
    """
    if not ledger.exists():
        return {}, False
    with reader(ledger) as connection:
        began = connection.execute("SELECT 1 FROM states WHERE name = 'loop'").fetchone()
        return meta(connection), began is not None


def _terms(config: Config, market: Market, known: Mapping[str, Any]) -> Terms:
    return Terms(
        name=str(known.get("name", "paper")),
        account=str(known.get("account", f"mtq{secrets.token_hex(4)}")),
        rules=market.rules,
        bar_seconds=market.panel.bar_seconds,
        bars_per_year=float(known.get("bars_per_year", market.tape.bars_per_year)),
        paper=config.paper,
        guard=config.guard,
    )


def _history(market: Market, plan: PaperPlan) -> list[Delivery]:
    """Bars up to the opening: of a replay those before its part, else all."""
    feed = Replay(market.bars)
    rows = market.rows.start + 1 if plan.feed == "replay" else len(market.panel)
    return [feed.next(0.0) for _ in range(rows)]


def _feed(
    config: Config, instruments: Mapping[str, Instrument], market: Market, plan: PaperPlan
) -> tuple[Feed, bool]:
    """The feed, and whether its bars are live."""
    if plan.feed == "replay":
        last = int(market.panel.stamps[market.rows.stop - 1])
        bars = [own.between(0, last + 1) for own in market.bars]
        return Replay(bars, plan.bars_per_second), False
    symbols = market.panel.symbols
    if plan.feed == "synthetic":
        step = market.panel.bar_seconds * NANOSECONDS
        first = int(market.panel.stamps[-1]) + step
        closes = [_last_close(own) for own in market.bars]
        made_up = SyntheticFeed(
            symbols,
            market.panel.bar_seconds,
            first,
            config.data.synthetic.seed,
            SYNTHETIC_VOLATILITY,
            plan.bars_per_second,
            closes,
        )
        return made_up, False
    if config.data.source != "yahoo":
        rule, remedy = "must be yahoo for --feed yahoo", "Set data.source=yahoo."
        raise ConfigError("data.source", rule, config.data.source, remedy)
    paper = config.paper
    known_seconds = DELAY_NS / NANOSECONDS + paper.poll_seconds
    if paper.order_good_bars * market.panel.bar_seconds <= known_seconds:
        raise ConfigError(
            "data.bar",
            f"must be long enough for orders that are sent {known_seconds:.0f} s after the close,"
            " which is when Yahoo's bars are believed",
            config.data.bar,
            "Use hours or days, or raise paper.order_good_bars.",
        )
    feed = YahooFeed(
        YahooDownloader(Path(config.data.folder or DEFAULT_FOLDER)),
        [instrument_of(instruments, symbol) for symbol in symbols],
        config.data.bar,
        paper.poll_seconds,
        paper.grace_seconds,
    )
    return feed, True


def _last_close(bars: Bars) -> float:
    return float(bars.close[-1])


def _broker(
    config: Config,
    instruments: Mapping[str, Instrument],
    rules: Rules,
    plan: PaperPlan,
    traded: bool,
) -> tuple[str, MakeBroker]:
    """What the ledger calls the broker, and how it is made."""
    if plan.broker == "oanda":
        if plan.feed != "yahoo":
            rule = "must be yahoo with --broker oanda: its prices are of now"
            raise ConfigError("feed", rule, plan.feed, "Add --feed yahoo.")
        from mtquant.paper.oanda.broker import oanda_broker  # needs the extra oanda

        known = oanda_broker(config.paper, instruments, rules.account_currency)
        return _checked_identity(known, rules, traded), lambda tape, state: known
    socket = plan.broker
    if socket is not None:
        return f"server at {socket.resolve()}", lambda tape, state: RemoteBroker(socket)

    def make(tape: LiveTape, state: bytes | None) -> Broker:
        venue = SimBroker(tape, rules)
        if state is not None:
            venue.restore(state)
        return venue

    return "simulated", make


def _checked_identity(broker: OandaBroker, rules: Rules, traded: bool) -> str:
    """What the ledger calls an account at OANDA, which has to fit a ledger that has not traded;
    one that does not is hung up on.
    """
    try:
        if not traded:
            broker.check_opening(rules.initial_equity, rules.symbols)
        return broker.identity()
    except BaseException:
        broker.close()
        raise
