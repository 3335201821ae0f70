# SPDX-License-Identifier: Apache-2.0
"""`OandaBroker`: an account at OANDA as a `Broker`."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from mtquant.core.errors import ConfigError
from mtquant.core.paper_config import PaperConfig
from mtquant.data.instruments import Instrument
from mtquant.paper.broker import BrokerError, BrokerTimeout
from mtquant.paper.oanda.client import Keys, OandaClient, Reply
from mtquant.paper.oanda.journal import (
    DUPLICATE,
    Journal,
    OrderFacts,
    Transaction,
    client_name,
    number_of,
)
from mtquant.paper.oanda.words import (
    Contract,
    fill,
    instrument_of,
    market_order,
    mid_of,
    refusal,
    why,
)
from mtquant.paper.orders import FILLED, REJECTED, SENT, Answer, Execution, Holdings, Order

OPENING_FRAC = 1e-3  # of the balance: less is a rounding, not a surprise
FIRST = 1  # the transaction that made the account; nothing was traded before it

_log = logging.getLogger("mtquant.paper")


class OandaBroker:
    """One account at OANDA. It keeps nothing that OANDA does not: what became of an order is read
    from the account's transactions.

    Args:
        client: Asks.
        instruments: Symbol -> what it is; those with a name at OANDA can be traded.
        account_currency: What the account has to be kept in.
        sleep: Waits that many seconds.
    """

    name = "oanda"

    def __init__(
        self,
        client: OandaClient,
        instruments: Mapping[str, Instrument],
        account_currency: str,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client, self._currency, self._sleep = client, account_currency, sleep
        self._instruments = instruments
        self._names = {s: item.oanda for s, item in instruments.items() if item.oanda}
        self._symbols = {name: symbol for symbol, name in self._names.items()}
        self._contracts: dict[str, Contract] = {}
        self._compared: set[str] = set()
        self._journal = Journal(client)
        # Refused before OANDA wrote anything down: the only thing that it cannot be asked.
        self._refused: dict[str, str] = {}
        self._doubted = time.monotonic()

    # What a broker does

    def submit(self, order: Order) -> Answer:
        """As `Broker.submit`. OANDA itself would take a name again once its order is done, so what
        became of it is asked first.
        """
        contract = self._contract(order.symbol)
        known = self.order(order.client_id)
        if known is not None:
            return known
        units = contract.units(order.quantity)
        too = contract.refuses(units)
        # What is too small goes out all the same: OANDA's refusal is a record that lasts.
        mid = math.nan
        if order.stop_loss_frac or order.take_profit_frac:
            mid = mid_of(self.client.demand("/pricing", instruments=contract.name))
            if math.isnan(mid):
                return self._refuse(order, "no price to measure its stops from")
        force = self.client.config.time_in_force
        request = market_order(order, contract, units, force, mid)
        try:
            reply = self.client.post("/orders", request, order.client_id)
        except BrokerTimeout:
            self._doubted = time.monotonic()
            raise
        answer = self._placed(order, reply, too)
        if answer.status == FILLED and float(units) != order.quantity:
            return replace(answer, detail=f"rounded to {units} units")
        return answer

    def order(self, client_id: str) -> Answer | None:
        """As `Broker.order`. OANDA looks orders up with a short delay: within `doubt_seconds` of a
        request without an answer, or of our start, None is said only after waiting for them.
        """
        found = self._look_up(client_id)
        if found is None:
            left = self._doubted + self.client.config.doubt_seconds - time.monotonic()
            if left > 0.0:
                self._sleep(left)
                found = self._look_up(client_id)
        return found

    def executions(self, after: str) -> Sequence[tuple[str, Execution]]:
        """As `Broker.executions`; cursors are the numbers of transactions."""
        found = []
        for row in self._journal.since(int(after or FIRST)):
            execution = self._execution(row)
            if execution is not None:
                found.append((str(number_of(row)), execution))
        return found

    def holdings(self) -> Holdings:
        """As `Broker.holdings`. Positions and balance come from one answer, so they belong
        together; the balance is what is realised, and so is the desk's cash.

        Raises:
            BrokerError: The account is kept in another currency.
        """
        account = self.client.demand("").get("account", {})
        try:
            return self._held(account)
        except (KeyError, TypeError, ValueError):
            rule, remedy = "must say positions and balance", "See docs/oanda.md."
            raise BrokerError("OANDA's account", rule, _keys(account), remedy) from None

    def cancel(self, client_id: str) -> Answer | None:
        """As `Broker.cancel`."""
        reply = self.client.put(f"/orders/@{quote(client_id, safe='')}/cancel")
        self._journal.take(_transactions(reply.body))
        return self.order(client_id)

    def close(self) -> None:
        """Hangs up."""
        self.client.close()

    def identity(self) -> str:
        """Which account this is, for a ledger that must not be taken on by another: environment
        and moment of creation, since the account's number is a secret.

        Raises:
            BrokerError: The account cannot be used.
        """
        account = self.client.demand("/summary").get("account", {})
        made = account.get("createdTime", "at an unknown time")
        return f"oanda {self.client.config.environment}, account made {made}"

    def check_opening(self, initial_equity: float, symbols: Sequence[str]) -> None:
        """Before a new ledger: what it begins with has to be what the account holds, or the
        difference would be adopted as money won or lost; and all instruments have to be there.

        Args:
            initial_equity: Of the rules.
            symbols: What will be traded.

        Raises:
            ConfigError: The balance is another.
            BrokerError: The account is kept in another currency, cannot trade an instrument, or
                cannot be used.
        """
        for symbol in symbols:
            self._contract(symbol)
        balance = self.holdings().cash
        if abs(balance - initial_equity) > OPENING_FRAC * initial_equity:
            rule = f"must be the balance of the account at OANDA, {balance:.2f}"
            remedy = "Set it, or bring the account's balance there."
            raise ConfigError("environment.initial_capital", rule, initial_equity, remedy)

    # What is sent

    def _placed(self, order: Order, reply: Reply, too: str) -> Answer:
        """What OANDA said to a new order."""
        self._journal.take(_transactions(reply.body))
        name = order.client_id
        if reply.good:
            facts = self._journal.named(name)
            return _answer(name, facts) if facts else Answer(name, SENT)
        rejected = reply.body.get("orderRejectTransaction")
        if isinstance(rejected, Mapping):
            if why(rejected) == DUPLICATE:
                return self._first(name)
            return Answer(name, REJECTED, too or why(rejected))
        if too:
            return self._refuse(order, too)
        rule, remedy = "must be an order that OANDA can read", "See docs/oanda.md."
        raise BrokerError(f"order {name}", rule, reply.complaint, remedy)

    def _refuse(self, order: Order, why_not: str) -> Answer:
        """Refuses what OANDA will never hear of or write down."""
        self._refused[order.client_id] = why_not
        return Answer(order.client_id, REJECTED, why_not)

    def _first(self, client_id: str) -> Answer:
        """What became of the order that had a name before."""
        found = self._look_up(client_id)
        if found is None:  # it is there, and cannot be seen yet
            self._doubted = time.monotonic()
            remedy = "Ask what became of it."
            raise BrokerTimeout(f"order {client_id}", "must be found", "taken, not shown", remedy)
        return found

    def _contract(self, symbol: str) -> Contract:
        """What may be traded of a symbol; OANDA is asked once.

        Raises:
            BrokerError: It cannot be traded in this account.
        """
        if not self._contracts:
            body = self.client.demand("/instruments")
            rows = [Contract.of(row) for row in body.get("instruments", ())]
            self._contracts = {own.name: own for own in rows}
        contract = self._contracts.get(self._names.get(symbol, ""))
        if contract is None:
            remedy = "Give it a key oanda in the instruments' file, or trade without it."
            rule = "must be tradable in this account at OANDA"
            raise BrokerError("symbol", rule, symbol, remedy)
        self._compare_lot(symbol, contract)
        return contract

    def _compare_lot(self, symbol: str, contract: Contract) -> None:
        """Says once where our lots are finer than what OANDA takes."""
        if symbol in self._compared:
            return
        self._compared.add(symbol)
        lot = self._instruments[symbol].lot
        if contract.refuses(contract.units(lot)) or float(contract.units(lot)) != lot:
            text = "%s: lots of %g are finer than OANDA's %s: orders are rounded towards zero"
            _log.warning(text, symbol, lot, contract.least_units)

    # What is read

    def _look_up(self, client_id: str) -> Answer | None:
        """What became of an order: OANDA's list of orders is asked, then the transactions."""
        if client_id in self._refused:
            return Answer(client_id, REJECTED, self._refused[client_id])
        reply = self.client.get(f"/orders/@{quote(client_id, safe='')}")
        order = reply.body.get("order") if reply.good else None
        state = order.get("state") if isinstance(order, Mapping) else None
        if state == "FILLED":
            return Answer(client_id, FILLED)
        if state in ("PENDING", "TRIGGERED"):
            return Answer(client_id, SENT)
        self._journal.update()
        facts = self._journal.named(client_id)
        if facts is not None:
            return _answer(client_id, facts)
        return None if state is None else Answer(client_id, REJECTED, str(state))

    def _execution(self, row: Transaction) -> Execution | None:
        """What a transaction did to positions or to an order of ours; None for neither."""
        kind = row.get("type")
        if kind == "ORDER_FILL":
            facts = self._journal.order_of(row)
            name = instrument_of(row, facts)
            # Something that nobody maps goes under OANDA's name: the loop halts over it.
            return fill(row, facts, self._symbols.get(name, name))
        if kind == "ORDER_CANCEL" and row.get("clientOrderID"):
            facts = self._journal.order_of(row)
            symbol = self._symbols.get(instrument_of(row, facts))
            # The rest of a partial fill is no refusal; nor is what the second lock kept out.
            named = self._journal.named(facts.client_id)
            done = facts.fills or (named is not None and named.fills)
            return refusal(row, facts, symbol) if symbol and not done else None
        if kind == "MARKET_ORDER_REJECT" and why(row) != DUPLICATE:
            name = client_name(row)
            symbol = self._symbols.get(str(row.get("instrument")))
            if name and symbol:
                return refusal(row, OrderFacts(name, rejected=row), symbol)
        return None

    def _held(self, account: Mapping[str, Any]) -> Holdings:
        currency = str(account["currency"])
        if currency != self._currency:
            remedy = "Set environment.account_currency to the account's, or use another account."
            rule = f"must be {self._currency}, as environment.account_currency says"
            raise BrokerError("currency of the account at OANDA", rule, currency, remedy)
        positions, averages = {}, {}
        for row in account["positions"]:
            name = str(row["instrument"])
            sides = [row.get("long") or {}, row.get("short") or {}]
            units = [float(side.get("units", 0.0)) for side in sides]
            net, symbol = sum(units), self._symbols.get(name, name)
            if net != 0.0:
                positions[symbol] = net
            # Both sides at once (a hedging account) have no common average.
            if net in units and net != 0.0:
                averages[symbol] = float(sides[units.index(net)]["averagePrice"])
        return Holdings(positions, averages, float(account["balance"]))


def oanda_broker(
    paper: PaperConfig, instruments: Mapping[str, Instrument], account_currency: str
) -> OandaBroker:
    """The account that OANDA_API_TOKEN and OANDA_ACCOUNT_ID name, in the environment that
    `paper.oanda` names: practice, unless it says live.

    Args:
        paper: Sections `oanda` and `max_clock_skew_seconds`.
        instruments: Symbol -> what it is.
        account_currency: Of the rules.

    Raises:
        ConfigError: A variable is missing, or httpx is not installed.
    """
    keys = Keys.from_environment()
    client = OandaClient(paper.oanda, keys, paper.max_clock_skew_seconds)
    if paper.oanda.environment == "live":
        _log.warning("paper.oanda.environment is live: orders are for real money")
    return OandaBroker(client, instruments, account_currency)


def _answer(client_id: str, facts: OrderFacts) -> Answer:
    """What transactions say of an order."""
    if facts.fills:
        return Answer(client_id, FILLED)
    ended = facts.cancelled or facts.rejected
    return Answer(client_id, REJECTED, why(ended)) if ended else Answer(client_id, SENT)


def _transactions(body: Mapping[str, Any]) -> list[Transaction]:
    """Those inside an answer, in the order of their numbers."""
    found = [
        value
        for key, value in body.items()
        if key.endswith("Transaction") and isinstance(value, Mapping)
    ]
    return sorted(found, key=number_of)


def _keys(record: object) -> object:
    """The names in a record: its values are nobody's business."""
    return sorted(record) if isinstance(record, Mapping) else type(record).__name__
