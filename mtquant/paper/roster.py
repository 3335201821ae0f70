# SPDX-License-Identifier: Apache-2.0
"""Who trades in a paper account: the rollout as the ledger has it, and a seat for every model."""

from __future__ import annotations

import copy
import time

from mtquant.core.errors import MtquantError, RunError
from mtquant.paper.dealing import Remark
from mtquant.paper.eyes import Bar
from mtquant.paper.guardian import Guardian
from mtquant.paper.recorder import Recorder
from mtquant.paper.seats import Models, Rollout, Seat, seated
from mtquant.paper.terms import Terms
from mtquant.risk.guard import GUARD_ACTIVE


class Roster:
    """Models at work in one account.

    Args:
        terms: What the account is.
        recorder: Its ledger.
        models: Loads a model by its path.

    Attributes:
        rollout: Which models trade, with how much of the capital.
        seats: Path of a model -> its seat.
    """

    def __init__(self, terms: Terms, recorder: Recorder, models: Models) -> None:
        self.terms, self.recorder, self.models = terms, recorder, models
        self.rollout = Rollout()
        self.seats: dict[str, Seat] = {}

    def shares(self) -> list[tuple[str, float]]:
        """Models at work with their shares of the capital."""
        rollout = self.rollout
        found = []
        if rollout.current is not None:
            found.append((rollout.current, 1.0 - rollout.share))
        if rollout.candidate is not None:
            found.append((rollout.candidate, rollout.share))
        return found

    def change(self, verb: str, path: str, digest: str, capital: float, why: str, bar: int) -> None:
        """A row of `models`, and what follows from it; all models are seated before anything is
        written, so that one that cannot be changes nothing.

        Raises:
            MtquantError: A model cannot be loaded, or is not the one that traded under its name.
        """
        rollout = copy.deepcopy(self.rollout)
        rollout.apply(verb, path, digest, capital, bar)
        seats = {
            own: self.seats.get(own) or self.seat_of(own, rollout.versions[own])
            for own in rollout.paths
        }
        self.recorder.add(
            "models",
            bar=bar,
            wall_ns=time.time_ns(),
            verb=verb,
            path=path,
            digest=digest,
            capital=capital,
            reason=why,
        )
        self.rollout, self.seats = rollout, seats

    def ramp(self, bar: int, equity: float, guardian: Guardian, remark: Remark) -> None:
        """Lets a promoted model's share grow, or takes it back.

        Args:
            bar: Number of the last row.
            equity: At its close.
            guardian: Halts where the model before cannot be loaded.
            remark: Notes and alerts.
        """
        rollout, paper = self.rollout, self.terms.paper
        if rollout.candidate is None:
            return
        rollout.peak = max(rollout.peak, equity)
        fall = 1.0 - equity / rollout.peak
        path, digest = rollout.candidate, rollout.versions[rollout.candidate]
        if fall >= paper.rollback_drawdown_frac:
            why = f"equity fell by {fall:.1%} while it ramped up"
            try:
                self.change("rollback", path, digest, 0.0, why, bar)
            except MtquantError as error:
                guardian.halt("the model to roll back to cannot be loaded", "guard")
                remark("model", path, str(error), "critical")
                return
            remark("rollback", path, why, "critical")
        elif guardian.mode != GUARD_ACTIVE:
            rollout.since = bar  # a step is earned by bars without trouble
        elif bar - rollout.since >= paper.ramp_bars:
            share = min(1.0, rollout.share * paper.ramp_factor)
            why = f"{paper.ramp_bars} quiet bars"
            self.change("ramp", path, digest, share, why, bar)
            remark("ramp", path, f"share of the capital {share:.0%}", "info")

    def sit(self) -> None:
        """Seats the models that the rollout names, as after a restart.

        Raises:
            MtquantError: As `seat_of`.
        """
        rollout = self.rollout
        self.seats = {path: self.seat_of(path, rollout.versions[path]) for path in rollout.paths}

    def seat_of(self, path: str, digest: str) -> Seat:
        """Loads a model and shows it all bars so far.

        Raises:
            RunError: It is not the one that is known by this digest.
        """
        terms, model = self.terms, self.models(path)
        if model.digest != digest:
            raise RunError(
                path,
                f"must be the model that was promoted, with weights {digest[:12]}",
                model.digest[:12],
                "Put it back, or promote the new one under another path.",
            )
        known = self.recorder.ledger.ask(
            "SELECT bar, content FROM states WHERE name = ?", f"eyes/{digest}"
        )
        snapshot = (known[0][0], known[0][1]) if known else None
        return seated(
            model, terms.rules.symbols, terms.bar_seconds, terms.paper, snapshot, self.history
        )

    def history(self, after: int) -> list[tuple[int, dict[int, Bar]]]:
        """Rows of the ledger after a bar number: stamp, and column -> open to volume."""
        stamps = self.recorder.ledger.ask(
            "SELECT bar, stamp_ns FROM rows WHERE bar > ? ORDER BY bar", after
        )
        bars: dict[int, dict[int, Bar]] = {bar: {} for bar, _ in stamps}
        for bar, n, *prices in self.recorder.ledger.ask(
            "SELECT bar, instrument, open, high, low, close, volume FROM bars WHERE bar > ?",
            after,
        ):
            bars[bar][n] = (prices[0], prices[1], prices[2], prices[3], prices[4])
        return [(stamp_ns, bars[bar]) for bar, stamp_ns in stamps]
