# SPDX-License-Identifier: Apache-2.0
"""A second trading desk, written from docs/execution.md alone to judge the compiled one."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

ORDER, STOP_LOSS, TAKE_PROFIT, LIQUIDATION = range(4)  # origins
DONE, SHRUNK_BY_MARGIN, REFUSED_BY_MARGIN, MARKET_CLOSED, PRICE_UNKNOWN = range(5)  # reasons
SHRUNK_BY_VOLUME, REFUSED_BY_VOLUME = 5, 6
Row = dict[str, Any]


class SecondDesk:
    """One account: cash, positions, a queue of orders, and the fills so far."""

    def __init__(
        self, instruments: list[Row], settings: Row, initial_equity: float, cost_scale: float = 1.0
    ) -> None:
        """An account with cash only; no price is known yet."""
        self.names = [SimpleNamespace(**one) for one in instruments]
        self.settings = SimpleNamespace(**settings)
        for one in self.names:  # h at the usual spread, and the commission of step 2
            one.usual_h = one.h = (one.spread_bps / 2.0 + one.slippage_bps) / 10_000.0 * cost_scale
            one.commission = one.commission_bps / 10_000.0 * cost_scale
            one.m = one.multiplier
        self.initial = self.cash = self.equity = self.peak = float(initial_equity)
        count = len(instruments)
        self.quantity, self.average, self.queued = [0.0] * count, [0.0] * count, [0.0] * count
        self.mid, self.rate = [math.nan] * count, [math.nan] * count
        self.held_bars, self.tradable = [0] * count, [False] * count
        self.most, self.late = [math.inf] * count, [0.0] * count
        self.scale = cost_scale
        self.fills: list[Row] = []
        self.count, self.variance, self.binding = 0, 0.0, 0

    def start(self, bars: list[Row]) -> None:
        """Begin at the close of this bar."""
        self._know([bar["close"] for bar in bars], [bar["rate_close"] for bar in bars])
        self._meet(bars)

    def _meet(self, bars: list[Row]) -> None:
        """Who trades in a bar, at what cost and how much."""
        self.tradable = [bar["tradable"] for bar in bars]
        self.most = [bar["most"] for bar in bars]
        for one, bar in zip(self.names, bars, strict=True):
            one.h = one.usual_h + bar["extra_cost"] * self.scale

    def _know(self, mids: list[float], rates: list[float]) -> None:
        """Replace last known mids and rates where the new ones are not missing."""
        for known, news in ((self.mid, mids), (self.rate, rates)):
            known[:] = [a if math.isnan(b) else b for a, b in zip(known, news, strict=True)]

    def _open(self) -> list[int]:
        """The instruments with a position."""
        return [n for n, q in enumerate(self.quantity) if q != 0.0]

    def _equity(self, mids: list[float]) -> float:
        """Cash plus sum of q m (p - a) r at these mids and the last known rates."""
        equity = self.cash
        for n in self._open():
            gain = mids[n] - self.average[n]
            equity += self.quantity[n] * self.names[n].m * gain * self.rate[n]
        return equity

    def _value(self, n: int, mids: list[float]) -> float:
        """|q| m |p| r."""
        return float(abs(self.quantity[n]) * self.names[n].m * abs(mids[n]) * self.rate[n])

    def _margin(self, mids: list[float], without: int = -1) -> float:
        """Used margin of all instruments, or of all but one."""
        held = [n for n in self._open() if n != without]
        return float(sum(self._value(n, mids) * self.names[n].margin_frac for n in held))

    def _exposure(self, n: int) -> float:
        """q m p r / equity."""
        value = self._value(n, self.mid)
        return math.copysign(value, self.quantity[n] * self.mid[n]) / self.equity

    def _fill(
        self, n: int, bar: int, origin: int, wanted: float, d: float, p: float, r: float, why: int
    ) -> None:
        """Book d units against mid p at rate r (step 2, Fill); d = 0 only writes the refusal."""
        one, q, a, side = self.names[n], self.quantity[n], self.average[n], math.copysign(1.0, d)
        price = slippage = fee = 0.0
        if d != 0.0:
            price = p + side * abs(p) * one.h
            slippage = abs(d) * one.m * abs(p) * one.h * r
            fee = abs(d) * one.m * abs(price) * r * one.commission
            if q * d < 0.0:  # realise the part that closes
                self.cash += min(abs(d), abs(q)) * -side * one.m * (price - a) * r
            self.cash -= fee
            self.quantity[n] = new = round((q + d) / one.lot) * one.lot
            if q * new <= 0.0:  # opened, flipped or flat
                self.average[n], self.held_bars[n] = price if new != 0.0 else 0.0, 0
            elif q * d > 0.0:
                self.average[n] = (a * abs(q) + price * abs(d)) / (abs(q) + abs(d))
        row = dict(bar=bar, instrument=n, origin=origin, wanted=wanted, quantity=d, reference=p)
        self.fills.append(row | dict(price=price, rate=r, fee=fee, slippage=slippage, reason=why))

    def _check(self, n: int, d: float) -> tuple[float, int]:
        """How much of an order may be done, and the reason (step 2, Margin check)."""
        one, q, side = self.names[n], self.quantity[n], math.copysign(1.0, d)
        unit = one.m * abs(self.mid[n]) * self.rate[n]
        c = unit * (one.h + (1.0 + side * one.h) * one.commission)
        u = unit * one.margin_frac
        closing = abs(q) if q * d < 0.0 else 0.0
        opening, base = abs(d) - closing, abs(q) if q * d > 0.0 else 0.0
        free = self._equity(self.mid) - closing * c - self._margin(self.mid, n) - base * u
        x = free / (u + c) if u + c > 0.0 else math.copysign(math.inf, free)
        if opening <= x * (1.0 + 1e-12):
            return d, DONE
        # `closing` is whole lots already, and counted as such: floor((k lot) / lot) can be k - 1
        lots = round(closing / one.lot) + math.floor(max(x, 0.0) / one.lot)
        return (side * lots * one.lot, SHRUNK_BY_MARGIN) if lots >= 1 else (0.0, REFUSED_BY_MARGIN)

    def _offered(self, n: int, d: float) -> tuple[float, int]:
        """How much of an order the bar's volume allows (step 2, Volume)."""
        if abs(d) <= self.most[n]:
            return d, DONE
        cut = math.copysign(self.most[n], d) if self.most[n] > 0.0 else 0.0
        return cut, SHRUNK_BY_VOLUME if cut else REFUSED_BY_VOLUME

    def _orders(self, bar: int) -> None:
        """Fill the queue in two passes, first what lowers risk (steps 0 and 2)."""
        queue = [(n, self.quantity[n], d) for n, d in enumerate(self.queued) if d != 0.0]
        self.queued = [0.0] * len(self.names)
        adding = [(abs(q + d) > abs(q) or (q + d) * q < 0.0, n, d) for n, q, d in queue]
        for _, n, wanted in sorted(adding):
            p, r, d, why = self.mid[n], self.rate[n], wanted, DONE
            if not self.tradable[n]:
                d, why = 0.0, MARKET_CLOSED
            elif not (p > 0.0 and r > 0.0):
                d, why = 0.0, PRICE_UNKNOWN
            else:
                d, why = self._offered(n, wanted)
                q = self.quantity[n]
                if d != 0.0 and (abs(q + d) > abs(q) or (q + d) * q < 0.0):
                    d, judged = self._check(n, d)
                    why = why if judged == DONE else judged
            self._fill(n, bar, ORDER, wanted, d, p, r, why)

    def _close(self, n: int, opened: float, p: float, origin: int) -> None:
        """Close a position inside the bar against mid p (step 3)."""
        rate, d = self.rate[n] * (opened / p if self.names[n].own_rate else 1.0), -self.quantity[n]
        self._fill(n, self.count, origin, d, d, p, rate, DONE)

    def _stop(self, n: int, bar: dict[str, Any]) -> None:
        """Stop or take profit: the first of the four rules that holds (step 3)."""
        one, a, side = self.names[n], self.average[n], math.copysign(1.0, self.quantity[n])
        worst, best = (bar["low"], bar["high"]) if side > 0.0 else (bar["high"], bar["low"])
        loss, gain = a * (1.0 - side * (one.stop or 0.0)), a * (1.0 + side * (one.take or 0.0))
        opened = bar["open"]
        gap, inside = (opened, opened, opened, opened), (worst, best, loss, gain)
        for low, high, at_loss, at_gain in (gap, inside):
            if one.stop and a > 0.0 and side * low <= side * loss:
                return self._close(n, opened, at_loss, STOP_LOSS)
            if one.take and a > 0.0 and side * high >= side * gain:
                return self._close(n, opened, at_gain, TAKE_PROFIT)

    def _liquidate(self, bars: list[Row]) -> None:
        """Close every tradable position where equity meets the maintenance margin (step 3)."""
        need, start, end = self.settings.maintenance_margin_frac, list(self.mid), list(self.mid)
        moving = [n for n in self._open() if self.tradable[n]]
        for n in moving:
            start[n], end[n] = bars[n]["open"], bars[n]["low" if self.quantity[n] > 0.0 else "high"]
        f0, f1 = (self._equity(mids) - need * self._margin(mids) for mids in (start, end))
        if f1 > 0.0 or not self._open() or need == 0.0:
            return
        x = 0.0 if f0 <= 0.0 else f0 / (f0 - f1)
        for n in moving:
            self._close(n, start[n], start[n] + x * (end[n] - start[n]), LIQUIDATION)

    def bar(self, bars: list[Row], elapsed: float, risk: Row | None = None) -> dict[str, float]:
        """One bar, steps 0 to 4; returns the outcome of step 5 without `benchmark`. `risk`: sigma
        and rho known at the decision, where somebody asked for risks.
        """
        before, first, financing = self.equity, len(self.fills), 0.0
        if self.settings.fill_at == "close":  # step 0
            self._orders(self.count - 1)
        for n in self._open():  # step 1
            one, long = self.names[n], self.quantity[n] > 0.0
            yearly = (one.financing_long_bps if long else one.financing_short_bps) / 10_000.0
            financing += self._value(n, self.mid) * yearly * elapsed / 31_536_000.0
        self.cash -= financing
        self._meet(bars)
        opens = [bar["open"] if bar["tradable"] else math.nan for bar in bars]
        closes = [bar["close"] if bar["tradable"] else math.nan for bar in bars]
        self._know(opens, [bar["rate_open"] for bar in bars])  # step 2
        if self.settings.fill_at == "open":
            self._orders(self.count)
        for n in self._open():  # step 3
            if self.tradable[n]:
                self._stop(n, bars[n])
        self._liquidate(bars)
        self._know(closes, [bar["rate_close"] for bar in bars])  # step 4
        for n in self._open():
            self.held_bars[n] += self.tradable[n]
        self.equity = self._equity(self.mid)
        self.peak, self.count = max(self.peak, self.equity), self.count + 1
        spread = 0.0 if risk is None else self._spread(**risk)
        return {**self._outcome(before, financing, self.fills[first:]), "diversification": spread}

    def _spread(self, sigma: list[float], rho: list[list[float]]) -> float:
        """The share of the book's risk that is spread (step 5)."""
        alone = {n: self._exposure(n) * sigma[n] for n in self._open()}
        total = sum(abs(x) for x in alone.values())
        if not 0.0 < total < math.inf:
            return 0.0
        variance = sum(x * y * rho[n][m] for n, x in alone.items() for m, y in alone.items())
        return float(max(0.0, 1.0 - variance / total**2))

    def _outcome(self, before: float, financing: float, fills: list[Row]) -> dict[str, float]:
        """The row of step 5, then the variance that the next row knows."""
        traded = 0.0
        for fill in (fill for fill in fills if fill["quantity"] != 0.0):
            unit = self.names[fill["instrument"]].m * abs(fill["reference"]) * fill["rate"]
            traded += abs(fill["quantity"]) * unit
        fee, slippage = sum(fill["fee"] for fill in fills), sum(fill["slippage"] for fill in fills)
        line, floor = self.settings.bankruptcy_equity_frac * self.initial, 1e-6 * self.initial
        logs = [math.log(max(e, floor) if e <= line else e) for e in (before, self.equity)]
        exposures, result = [self._exposure(n) for n in self._open()], self.equity / before - 1.0
        row = dict(equity_before=before, equity=self.equity, growth=logs[1] - logs[0])
        row |= dict(simple_return=result, fee=fee, slippage=slippage, financing=financing)
        row |= dict(cost=(fee + slippage) / before, turnover=traded / before)
        row |= dict(drawdown=1.0 - self.equity / self.peak, status=int(self.equity <= line))
        row |= dict(tail_loss=max(0.0, -result - 1.645 * math.sqrt(self.variance)))
        share = self.equity / max(self.equity, floor)  # below the line equity counts as the floor
        row |= dict(gross=sum(abs(share * w) for w in exposures), net=share * sum(exposures))
        margin_use = self._margin(self.mid) / max(self.equity, floor)
        row |= dict(margin_use=margin_use, binding=self.binding)
        self.variance, self.binding = 0.94 * self.variance + 0.06 * result**2, 0
        return row

    def _limits(self, wanted: list[float]) -> list[float]:
        """What the limits leave (step 7.2); the projection is a bisected soft threshold."""
        pairs = [(abs(w), one.name_cap) for w, one in zip(wanted, self.names, strict=True)]

        def sizes(tau: float) -> list[float]:
            return [min(max(size - tau, 0.0), cap) for size, cap in pairs]

        gross, total, held = self.settings.gross_cap, sum(sizes(0.0)), sizes(0.0)
        self.binding = int(any(size > cap for size, cap in pairs)) + 2 * (total > gross)
        if total > gross and self.settings.limit_method == "scale":
            held = [size * gross / total for size in held]
        elif total > gross:
            low, high = 0.0, max(abs(w) for w in wanted)
            for _ in range(200):
                tau = (low + high) / 2.0
                low, high = (tau, high) if sum(sizes(tau)) > gross else (low, tau)
            held = sizes(high)
        return [math.copysign(size, w) for size, w in zip(held, wanted, strict=True)]

    def _want(self, n: int, target: float, held: float) -> float:
        """What the limits are asked for (step 7.1)."""
        cap = self.names[n].name_cap
        band = 0.0 if math.isinf(cap) else self.settings.rebalance_band * cap
        small = target != 0.0 and abs(target - held) <= band
        return held if small or not math.isfinite(target) else target

    def plan(self, targets: list[float]) -> None:
        """Queue the orders that lead to these exposures (step 7)."""
        self.queued, self.binding = [0.0] * len(self.names), 0
        if self.settings.latency_bars:
            targets, self.late = self.late, targets
        if not self.equity > 0.0:
            return
        now = [self._exposure(n) if q != 0.0 else 0.0 for n, q in enumerate(self.quantity)]
        wanted = [self._want(n, w, e) for n, (w, e) in enumerate(zip(targets, now, strict=True))]
        for n, w in enumerate(self._limits(wanted)):
            one, p, r = self.names[n], self.mid[n], self.rate[n]
            stays = wanted[n] == now[n] and abs(w - now[n]) <= 1e-9
            if not stays and p > 0.0 and r > 0.0:
                lots = abs(w) * self.equity / (p * one.m * r) / one.lot
                whole = round(lots) if abs(lots - round(lots)) <= 1e-9 else math.floor(lots)
                self.queued[n] = math.copysign(whole * one.lot, w) - self.quantity[n]
