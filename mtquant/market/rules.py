# SPDX-License-Identifier: Apache-2.0
"""Rules: one frozen record of how the world answers an order. Its hash is stamped on every ledger
and checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mtquant.core.compiled import kernel
from mtquant.core.config import EnvironmentConfig
from mtquant.data.instruments import Instrument, instrument_of
from mtquant.risk.dependence import VarMethod
from mtquant.risk.limits import LimitSet

Float = NDArray[np.float64]
Rule = tuple[float, float, float, float, float, float, float, float, float, float]

MOST_INSTRUMENTS = 1 << 16

# Columns of the rules matrix that kernels read, one row per instrument.
RULE_COLUMNS = 10
(
    R_HALF_COST,  # half spread + slippage, fraction of the mid
    R_COMMISSION,  # fraction of the notional
    R_LOT,
    R_MULTIPLIER,
    R_MARGIN,  # initial margin, fraction of the notional
    R_FINANCING_LONG,  # per year, fraction of the notional
    R_FINANCING_SHORT,
    R_STOP,  # fraction of the average price, 0 = off
    R_TAKE,
    R_OWN_RATE,  # 1 where the conversion rate is the inverse of the instrument's own price
) = range(RULE_COLUMNS)


@kernel
def rule_of(rules: Float, n: int) -> Rule:
    """Row n of the rules matrix as a tuple. Kernels read it once before they loop over accounts:
    numbers in an array might change while accounts are written, as far as a compiler can know.
    """
    return (
        rules[n, 0],
        rules[n, 1],
        rules[n, 2],
        rules[n, 3],
        rules[n, 4],
        rules[n, 5],
        rules[n, 6],
        rules[n, 7],
        rules[n, 8],
        rules[n, 9],
    )


@kernel
def count_of(rules: Float) -> int:
    """How many instruments there are; a number with bounds, so that the compiler can tell that no
    index counts from the end of an array.
    """
    return max(min(rules.shape[0], MOST_INSTRUMENTS), 0)


# Entries of the settings vector that kernels read.
SETTING_COLUMNS = 8
(
    S_FILL_AT_CLOSE,
    S_PROJECT,
    S_MAINTENANCE,
    S_BANKRUPTCY,
    S_TAIL_VAR,  # largest VaR where it is measured on scenarios, else infinite
    S_CORNISH_FISHER,
    S_LATENCY,  # bars until the desk hears a target
    S_BAND,  # share of the name cap by which targets have to differ from what is held
) = range(SETTING_COLUMNS)
HOURS = 24


@dataclass(frozen=True)
class InstrumentRules:
    """What one instrument costs and allows; bps of the notional, per side unless said.

    Attributes:
        spread_bps: Full bid-ask spread; half is paid on each side.
        commission_bps, slippage_bps: Paid per side.
        lot: Smallest step of a quantity, in units.
        multiplier: Quote currency per unit and per 1.0 of price.
        margin_frac: Initial margin.
        financing_long_bps, financing_short_bps: Per year; positive is a cost.
        stop_loss_frac, take_profit_frac: Distance from the average price; 0 is off.
        name_cap: Largest |exposure|, in units of equity.
        spread_by_hour: Multiples of the spread in bars that open in each hour of the day (UTC); ()
            is 1 in all.
    """

    symbol: str
    quote: str
    sector: str
    spread_bps: float
    commission_bps: float
    slippage_bps: float
    lot: float
    multiplier: float
    margin_frac: float
    financing_long_bps: float
    financing_short_bps: float
    stop_loss_frac: float
    take_profit_frac: float
    name_cap: float
    spread_by_hour: tuple[float, ...] = ()


@dataclass(frozen=True)
class Rules:
    """How the world answers; see `docs/execution.md` for what each entry does.

    Attributes:
        instruments: One entry per instrument, in the order of the panel.
        account_currency: Currency of the account.
        fill_at: ``"open"`` (next open) or ``"close"`` (the close decided at; optimistic).
        initial_equity: Deposit, account currency.
        max_gross_exposure: Largest sum of |exposure|.
        limit_method: ``"project"`` or ``"scale"``.
        maintenance_margin_frac: Share of the initial margin at which positions are liquidated.
        bankruptcy_equity_frac: Share of the deposit at which an episode ends.
        max_net_exposure, max_sector_allocation, max_correlation_exposure, max_portfolio_var,
        var_method, max_volatility, max_turnover: The other limits (docs/risk.md); infinite is off.
        latency_bars: Bars until the desk hears a target, 0 or 1.
        max_volume_frac: Largest order as a share of the volume of the bar it fills in; infinite is
            off.
        rebalance_band: Share of the name cap; a target other than 0 that is no farther from the
            held exposure leaves the position alone. Without a name cap there is no band.
    """

    instruments: tuple[InstrumentRules, ...]
    account_currency: str
    fill_at: str
    initial_equity: float
    max_gross_exposure: float
    limit_method: str
    maintenance_margin_frac: float
    bankruptcy_equity_frac: float
    max_net_exposure: float = np.inf
    max_sector_allocation: float = np.inf
    max_correlation_exposure: float = np.inf
    max_portfolio_var: float = np.inf
    var_method: VarMethod = "ewma"
    max_volatility: float = np.inf
    max_turnover: float = np.inf
    latency_bars: int = 0
    max_volume_frac: float = np.inf
    rebalance_band: float = 0.0

    @classmethod
    def from_config(
        cls,
        environment: EnvironmentConfig,
        instruments: Mapping[str, Instrument],
        symbols: Sequence[str],
    ) -> Rules:
        """Rules of `symbols` under a config; the spec's flat cost replaces spread, slippage and
        financing when chosen.
        """
        flat = environment.cost_model == "flat"
        rows = []
        for symbol in symbols:
            item = instrument_of(instruments, symbol)
            rows.append(
                InstrumentRules(
                    symbol=symbol,
                    quote=item.quote,
                    sector=item.sector,
                    spread_bps=0.0 if flat else item.spread_bps,
                    commission_bps=1e4 * environment.transaction_cost
                    if flat
                    else item.commission_bps,
                    slippage_bps=0.0 if flat else item.slippage_bps,
                    lot=item.lot,
                    multiplier=item.multiplier,
                    margin_frac=item.margin_frac,
                    financing_long_bps=0.0 if flat else item.financing_long_bps,
                    financing_short_bps=0.0 if flat else item.financing_short_bps,
                    stop_loss_frac=environment.stop_loss_pct,
                    take_profit_frac=environment.take_profit_pct or 0.0,
                    name_cap=environment.max_position_size,
                    spread_by_hour=tuple(environment.spread_by_hour.get(symbol, ())),
                )
            )
        return cls(
            instruments=tuple(rows),
            account_currency=environment.account_currency,
            fill_at=environment.fill_at,
            initial_equity=environment.initial_capital,
            max_gross_exposure=environment.max_gross_exposure,
            limit_method=environment.limit_method,
            maintenance_margin_frac=environment.maintenance_margin_frac,
            bankruptcy_equity_frac=environment.bankruptcy_equity_frac,
            max_net_exposure=_or_none(environment.max_net_exposure),
            max_sector_allocation=_or_none(environment.max_sector_allocation),
            max_correlation_exposure=_or_none(environment.max_correlation_exposure),
            max_portfolio_var=_or_none(environment.max_portfolio_var),
            var_method=environment.var_method,
            max_volatility=_or_none(environment.max_volatility),
            max_turnover=_or_none(environment.max_turnover),
            latency_bars=environment.latency_bars,
            max_volume_frac=_or_none(environment.max_volume_frac),
            rebalance_band=environment.rebalance_band,
        )

    @property
    def symbols(self) -> tuple[str, ...]:
        """Instruments in panel order."""
        return tuple(item.symbol for item in self.instruments)

    def hash(self) -> str:
        """sha256 of the canonical JSON of every entry; but for the band while it is 0, which came
        later: models of before lived in the same world.
        """
        entries = asdict(self)
        if self.rebalance_band == 0.0:
            del entries["rebalance_band"]
        return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()

    def without_stops(self) -> Rules:
        """The same world with stop-loss and take-profit off: what a policy without stops meets."""
        bare = (
            replace(item, stop_loss_frac=0.0, take_profit_frac=0.0) for item in self.instruments
        )
        return replace(self, instruments=tuple(bare))

    def matrix(self, own_rate: Sequence[bool]) -> Float:
        """Rules as kernels read them, float64 [N, RULE_COLUMNS]; `own_rate` comes from the tape's
        currency paths.
        """
        matrix = np.zeros((len(self.instruments), RULE_COLUMNS))
        for n, item in enumerate(self.instruments):
            matrix[n, R_HALF_COST] = (item.spread_bps / 2.0 + item.slippage_bps) / 10_000.0
            matrix[n, R_COMMISSION] = item.commission_bps / 10_000.0
            matrix[n, R_LOT] = item.lot
            matrix[n, R_MULTIPLIER] = item.multiplier
            matrix[n, R_MARGIN] = item.margin_frac
            matrix[n, R_FINANCING_LONG] = item.financing_long_bps / 10_000.0
            matrix[n, R_FINANCING_SHORT] = item.financing_short_bps / 10_000.0
            matrix[n, R_STOP] = item.stop_loss_frac
            matrix[n, R_TAKE] = item.take_profit_frac
            matrix[n, R_OWN_RATE] = float(own_rate[n])
        return matrix

    def limits(self) -> LimitSet:
        """The limit set as kernels read it."""
        return LimitSet.of(
            caps=[item.name_cap for item in self.instruments],
            sectors=[item.sector for item in self.instruments],
            gross=self.max_gross_exposure,
            net=self.max_net_exposure,
            sector=self.max_sector_allocation,
            correlation=self.max_correlation_exposure,
            var=self.max_portfolio_var,
            var_method=self.var_method,
            volatility=self.max_volatility,
            turnover=self.max_turnover,
            project=self.limit_method == "project",
        )

    def measures_risk(self) -> bool:
        """Whether a limit needs the risk of the bars."""
        limits = (self.max_correlation_exposure, self.max_portfolio_var, self.max_volatility)
        return min(limits) < np.inf

    def settings(self) -> Float:
        """Settings as kernels read them, float64 [SETTING_COLUMNS]."""
        settings = np.zeros(SETTING_COLUMNS)
        settings[S_FILL_AT_CLOSE] = float(self.fill_at == "close")
        settings[S_PROJECT] = float(self.limit_method == "project")
        settings[S_MAINTENANCE] = self.maintenance_margin_frac
        settings[S_BANKRUPTCY] = self.bankruptcy_equity_frac
        settings[S_TAIL_VAR] = self.limits().tail_var
        settings[S_CORNISH_FISHER] = float(self.var_method == "cornish_fisher")
        settings[S_LATENCY] = float(self.latency_bars)
        settings[S_BAND] = self.rebalance_band
        return settings


def _or_none(limit: float | None) -> float:
    """A limit of the config, where null is none."""
    return np.inf if limit is None else limit
