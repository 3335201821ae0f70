# SPDX-License-Identifier: Apache-2.0
"""A venue that answers as OANDA's public v20 documentation says, on a real socket of this machine,
with faults on request.

    with OandaServer() as server:
        server.quote("EUR_USD", 1.1)
        server.faults.append(Fault("lost", "POST", "/orders"))
        broker = server.broker()

It keeps one account: trades are closed first in, first out; a client id is refused only while
another pending order has it; what is refused is a transaction too. Everything else that is asked
of it is an error of the test.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from mtquant.core.paper_config import OandaConfig
from mtquant.data.instruments import load_instruments
from mtquant.paper.oanda.broker import OandaBroker
from mtquant.paper.oanda.client import Keys, OandaClient

TOKEN, ACCOUNT = "secret-0123456789abcdef", "101-004-7654321-001"
QUICK = OandaConfig(
    timeout_seconds=2.0, most_seconds=3.0, requests_per_second=120.0, doubt_seconds=0.0
)
Body = dict[str, Any]
# name: units digits, price digits, least units, half spread
CONTRACTS = {
    "EUR_USD": (0, 5, "1", 0.00005),
    "GBP_USD": (0, 5, "1", 0.00006),
    "USD_JPY": (0, 3, "1", 0.005),
    "XAU_USD": (0, 3, "1", 0.2),
    "WTICO_USD": (0, 3, "1", 0.02),
    "SPX500_USD": (1, 1, "0.1", 0.3),
    "NAS100_USD": (1, 1, "0.1", 0.8),
    "US30_USD": (1, 1, "0.1", 1.5),
    "AUD_USD": (0, 5, "1", 0.00006),  # nobody maps it
}


@dataclass
class Fault:
    """What happens to requests that fit.

    Attributes:
        kind: ``"lost"``: done, and the line is cut before the answer; ``"early"``: the line is cut
            before anything is done; ``"cut"``: done, and half of the answer comes; ``"slow"``:
            done, and the answer comes too late; ``"drip"``: done, and the answer comes letter by
            letter; a number: that status, nothing done; ``"500 done"``: that status, all done.
        method, part: Of the requests: method, part of the path.
        times: How often.
        headers: Added to the answer.
    """

    kind: str | int
    method: str = ""
    part: str = ""
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Trade:
    """An open trade."""

    number: int
    name: str
    units: float
    price: float
    client_id: str = ""
    stop_loss: float | None = None
    take_profit: float | None = None


class OandaServer:
    """The venue; a context manager.

    Attributes:
        faults: Those to come; the first that fits strikes.
        requests: Method and path of everything that was asked.
        transactions: The account's ledger.
        page: Transactions in a page of `sinceid`.
        liquidity: Units that are there at once, for ``IOC`` and ``FOK``.
        lag_seconds: What was done is shown so late.
        clock_ahead: Of the `Date` header, seconds.
        commission: Per unit.
        parked: Whether market orders wait for a market that never comes.
        quoted, priced: Whether there are quotes, and prices at all.
    """

    def __init__(self, balance: float = 100_000.0, currency: str = "USD") -> None:
        self.balance, self.currency = balance, currency
        self.quotes: dict[str, float] = {}
        self.halted: set[str] = set()
        self.trades: list[Trade] = []
        self.orders: dict[str, Body] = {}
        self.transactions: list[Body] = []
        self.faults: list[Fault] = []
        self.fate: Callable[[str, str], Fault | None] = lambda method, path: None
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.page, self.liquidity, self.lag_seconds, self.clock_ahead = 1_000, np.inf, 0.0, 0.0
        self.commission, self.margin_rate, self.slow_seconds = 0.0, 0.02, 1.5
        self.parked, self.quoted, self.priced = False, True, True
        self._lock = threading.RLock()
        self._born: list[float] = []
        self._brokers: list[OandaBroker] = []
        self._write("CREATE")
        self._write("TRANSFER_FUNDS", amount=str(balance))

    # The socket

    def __enter__(self) -> Self:
        venue = self

        class Handler(_Handler):
            server_of = venue

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        for broker in self._brokers:
            broker.close()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def broker(
        self, config: OandaConfig = QUICK, kind: type[OandaBroker] = OandaBroker, **more: Any
    ) -> OandaBroker:
        """An adapter of this account; closed with the server."""
        keys = Keys(TOKEN, ACCOUNT)
        client = OandaClient(config, keys, address=self.address, **more)
        self._brokers.append(kind(client, load_instruments(None), "USD"))
        return self._brokers[-1]

    def struck(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append((method, path))
            for fault in self.faults:
                if fault.method in ("", method) and fault.part in path:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                    return fault
            return self.fate(method, path)

    # The market

    def quote(self, name: str, mid: float) -> None:
        """A new price; stops that it touches are filled."""
        with self._lock:
            self.quotes[name] = mid
            for trade in [own for own in self.trades if own.name == name]:
                side = np.sign(trade.units)
                if trade.stop_loss is not None and side * (mid - trade.stop_loss) <= 0.0:
                    self._close(trade, "STOP_LOSS_ORDER")
                elif trade.take_profit is not None and side * (mid - trade.take_profit) >= 0.0:
                    self._close(trade, "TAKE_PROFIT_ORDER")

    def daily_financing(self, amount: float) -> None:
        with self._lock:
            self.balance += amount
            self._write("DAILY_FINANCING", financing=str(amount), accountBalance=str(self.balance))

    def transfer(self, amount: float) -> None:
        with self._lock:
            self.balance += amount
            self._write("TRANSFER_FUNDS", amount=str(amount), accountBalance=str(self.balance))

    def trade_by_hand(self, name: str, units: float) -> None:
        with self._lock:
            made = self._write("MARKET_ORDER", instrument=name, units=str(units))
            self._fill(made, units, "MARKET_ORDER", "")

    def held(self, name: str) -> float:
        return float(sum(own.units for own in self.trades if own.name == name))

    def filled(self, client_id: str) -> float:
        """Units that were done under a client id."""
        fills = [t for t in self.transactions if t["type"] == "ORDER_FILL"]
        return float(sum(float(t["units"]) for t in fills if t.get("clientOrderID") == client_id))

    def unrealised(self) -> float:
        return sum(
            own.units * (self.quotes[own.name] - own.price) * self._rate(own.name)
            for own in self.trades
        )

    # What is asked

    def answer(self, method: str, path: str, query: Body, body: Body) -> tuple[int, Body]:
        """One question, below the account."""
        with self._lock:
            status, found = self._answer(method, path, query, body)
            return status, {**found, "lastTransactionID": str(self._shown())}

    def _shown(self) -> int:
        """Transactions that can be seen by now."""
        return sum(born + self.lag_seconds <= time.monotonic() for born in self._born)

    def _answer(self, method: str, path: str, query: Body, body: Body) -> tuple[int, Body]:
        if (method, path) == ("GET", ""):
            return 200, {"account": {**self._summary(), "positions": self._positions()}}
        if (method, path) == ("GET", "/summary"):
            return 200, {"account": self._summary()}
        if (method, path) == ("GET", "/instruments"):
            return 200, {"instruments": [self._contract(name) for name in CONTRACTS]}
        if (method, path) == ("GET", "/pricing"):
            names = query["instruments"][0].split(",")
            return 200, {"prices": [self._price(name) for name in names] if self.priced else []}
        if (method, path) == ("GET", "/transactions/sinceid"):
            after = int(query["id"][0])
            end = min(after + self.page, self._shown())
            return 200, {"transactions": self.transactions[after:end]}
        if method == "GET" and path.startswith("/transactions/"):
            return 200, {"transaction": self.transactions[int(path.rpartition("/")[2]) - 1]}
        if (method, path) == ("POST", "/orders"):
            return self._place(body["order"])
        if method == "GET" and path.startswith("/orders/@"):
            return self._show(unquote(path.removeprefix("/orders/@")))
        if method == "PUT" and path.endswith("/cancel"):
            return self._cancel(unquote(path.removeprefix("/orders/@").removesuffix("/cancel")))
        raise AssertionError(f"nobody documents {method} {path}")

    def _summary(self) -> Body:
        return {
            "id": ACCOUNT,
            "currency": self.currency,
            "balance": f"{self.balance:.4f}",
            "hedgingEnabled": False,
            "createdTime": "2026-01-05T12:00:00.000000001Z",
        }

    def _positions(self) -> list[Body]:
        rows = []
        for name in sorted({own.name for own in self.trades} | set(list(CONTRACTS)[:1])):
            row: Body = {"instrument": name}
            for side, sign in (("long", 1.0), ("short", -1.0)):
                own = [t for t in self.trades if t.name == name and t.units * sign > 0.0]
                units = sum(t.units for t in own)
                row[side] = {"units": f"{units:g}"}
                if units:
                    mean = sum(t.units * t.price for t in own) / units
                    row[side]["averagePrice"] = repr(mean)
            rows.append(row)
        return rows

    def _contract(self, name: str) -> Body:
        units, price, least, _ = CONTRACTS[name]
        return {
            "name": name,
            "tradeUnitsPrecision": units,
            "displayPrecision": price,
            "minimumTradeSize": least,
            "maximumOrderUnits": "100000000",
        }

    def _price(self, name: str) -> Body:
        price, half = self._full_price(name), CONTRACTS[name][3]
        closing = {
            "closeoutBid": repr(self.quotes[name] - half),
            "closeoutAsk": repr(self.quotes[name] + half),
        }
        return {"instrument": name, **closing, **(price if self.quoted else {"bids": []})}

    def _full_price(self, name: str) -> Body:
        mid, half = self.quotes[name], CONTRACTS[name][3]
        return {
            "bids": [{"price": repr(mid - half), "liquidity": "1000000"}],
            "asks": [{"price": repr(mid + half), "liquidity": "1000000"}],
        }

    def _show(self, client_id: str) -> tuple[int, Body]:
        order = self.orders.get(client_id)
        if order is None or int(order["id"]) > self._shown():
            return 404, {"errorCode": "NO_SUCH_ORDER", "errorMessage": "does not exist"}
        return 200, {"order": order}

    # Orders

    def _place(self, order: Body) -> tuple[int, Body]:
        name, client_id = order.get("instrument"), order["clientExtensions"]["id"]
        if name not in CONTRACTS:
            return 400, {"errorMessage": "Invalid value specified for 'instrument'"}
        why = self._rejects(order, name, client_id)
        if why:
            row = self._write("MARKET_ORDER_REJECT", **order, rejectReason=why)
            body = {"orderRejectTransaction": row, "errorCode": why, "errorMessage": "rejected"}
            return 400, body
        made = self._write("MARKET_ORDER", **order)
        shown = {"id": made["id"], "state": "PENDING", **order}
        self.orders[client_id] = shown
        body = {"orderCreateTransaction": made}
        wanted = float(order["units"])
        done = float(np.sign(wanted) * min(abs(wanted), self.liquidity))
        cancel = self._cancels(order, name, wanted, done)
        if cancel:
            row = self._end(made, client_id, cancel)
            return 201, {**body, "orderCancelTransaction": row}
        if self.parked:
            return 201, body
        body["orderFillTransaction"] = self._fill(made, done, "MARKET_ORDER", client_id)
        shown["state"] = "FILLED"
        return 201, body

    def _rejects(self, order: Body, name: str, client_id: str) -> str:
        digits, _, least, _ = CONTRACTS[name]
        units = order["units"]
        if len(units.partition(".")[2]) > digits:
            return "UNITS_PRECISION_EXCEEDED"
        if float(units) == 0.0:
            return "UNITS_INVALID"
        if abs(float(units)) < float(least):
            return "UNITS_MINIMUM_NOT_MET"
        known = self.orders.get(client_id)
        if known is not None and known["state"] == "PENDING":
            return "CLIENT_ORDER_ID_ALREADY_EXISTS"
        return ""

    def _cancels(self, order: Body, name: str, wanted: float, done: float) -> str:
        if name in self.halted:
            return "MARKET_HALTED"
        if done == 0.0 or (order["timeInForce"] == "FOK" and done != wanted):
            return "INSUFFICIENT_LIQUIDITY"
        after = abs(self.held(name) + done) * self.quotes[name] * self._rate(name)
        grows = abs(self.held(name) + done) > abs(self.held(name))
        if grows and after * self.margin_rate > self.balance + self.unrealised():
            return "INSUFFICIENT_MARGIN"
        trade_name = order.get("tradeClientExtensions", {}).get("id")
        if grows and any(own.client_id == trade_name for own in self.trades):
            return "CLIENT_TRADE_ID_ALREADY_EXISTS"
        return ""

    def _cancel(self, client_id: str) -> tuple[int, Body]:
        order = self.orders.get(client_id)
        if order is None or order["state"] != "PENDING":
            row = self._write("ORDER_CANCEL_REJECT", rejectReason="ORDER_DOESNT_EXIST")
            body = {"orderCancelRejectTransaction": row, "errorCode": "ORDER_DOESNT_EXIST"}
            return 404, body
        row = self._end({"id": order["id"]}, client_id, "CLIENT_REQUEST")
        return 200, {"orderCancelTransaction": row}

    def _end(self, made: Body, client_id: str, why: str) -> Body:
        self.orders[client_id]["state"] = "CANCELLED"
        return self._write("ORDER_CANCEL", orderID=made["id"], clientOrderID=client_id, reason=why)

    def _fill(self, made: Body, units: float, why: str, client_id: str) -> Body:
        name = made["instrument"]
        price = self.quotes[name] + float(np.sign(units)) * CONTRACTS[name][3]
        extra: Body = {"tradesClosed": [], "clientOrderID": client_id} if client_id else {}
        gain, left = 0.0, units
        for trade in [own for own in self.trades if own.name == name]:
            if trade.units * left >= 0.0:
                break
            closed = float(np.sign(trade.units) * min(abs(trade.units), abs(left)))
            gain += closed * (price - trade.price) * self._rate(name)
            trade.units -= closed
            left += closed
            part = {"tradeID": str(trade.number), "units": f"{-closed:g}", "price": repr(price)}
            if trade.units == 0.0:
                extra.setdefault("tradesClosed", []).append(part)
                self.trades.remove(trade)
            else:
                extra["tradeReduced"] = part
        number = len(self.transactions) + 1
        if left:
            own = Trade(number, name, left, price, client_id)
            self._attach(own, made)
            self.trades.append(own)
            extra["tradeOpened"] = {"tradeID": str(number), "units": f"{left:g}"}
            extra["tradeOpened"]["price"] = repr(price)
        fee = abs(units) * self.commission
        self.balance += gain - fee
        factor = {"factor": repr(self._rate(name))}
        return self._write(
            "ORDER_FILL",
            orderID=made["id"],
            instrument=name,
            units=f"{units:g}",
            reason=why,
            pl=repr(gain),
            commission=repr(fee),
            financing="0.0",
            guaranteedExecutionFee="0.0",
            accountBalance=repr(self.balance),
            fullPrice=self._full_price(name),
            homeConversionFactors={"gainQuoteHome": factor, "lossQuoteHome": factor},
            **extra,
        )

    def _attach(self, trade: Trade, made: Body) -> None:
        side = float(np.sign(trade.units))
        if "stopLossOnFill" in made:
            trade.stop_loss = trade.price - side * float(made["stopLossOnFill"]["distance"])
        if "takeProfitOnFill" in made:
            trade.take_profit = float(made["takeProfitOnFill"]["price"])

    def _close(self, trade: Trade, why: str) -> None:
        made = self._write(why, tradeID=str(trade.number), reason="ON_FILL")
        self.trades.remove(trade)
        self.trades.insert(0, trade)  # this one, whatever was first
        self._fill({**made, "instrument": trade.name}, -trade.units, why, "")

    def _rate(self, name: str) -> float:
        return 1.0 / self.quotes[name] if name.endswith("JPY") else 1.0

    def _write(self, kind: str, **values: Any) -> Body:
        number = str(len(self.transactions) + 1)
        row = {**values, "id": number, "type": kind, "accountID": ACCOUNT, "batchID": number}
        self.transactions.append(row)
        self._born.append(time.monotonic())
        return row


class _Handler(BaseHTTPRequestHandler):
    """One request after the other on one line."""

    protocol_version = "HTTP/1.1"
    server_of: OandaServer

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_GET

    def _serve(self) -> None:
        venue, parts = self.server_of, urlsplit(self.path)
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        root = f"/v3/accounts/{ACCOUNT}"
        path = parts.path.removeprefix(root)
        venue.headers.append(dict(self.headers))
        fault = venue.struck(self.command, path)
        kind = fault.kind if fault else ""
        if kind == "early":
            self.close_connection = True
            return
        if isinstance(kind, int):
            self._send(kind, {"errorMessage": f"status {kind} {TOKEN}"}, fault)
            return
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._send(401, {"errorMessage": "Insufficient authorization"}, fault)
            return
        if not parts.path.startswith(root):
            self._send(403, {"errorMessage": "The provided request was forbidden."}, fault)
            return
        body = json.loads(content) if content else {}
        status, answer = venue.answer(self.command, path, parse_qs(parts.query), body)
        if kind == "slow":
            time.sleep(venue.slow_seconds)
        if kind == "lost":
            self.close_connection = True
            return
        self._send(500 if kind == "500 done" else status, answer, fault)

    def _send(self, status: int, answer: Body, fault: Fault | None) -> None:
        content = json.dumps(answer).encode()
        self.send_response_only(status)
        self.send_header("Date", formatdate(time.time() + self.server_of.clock_ahead, usegmt=True))
        self.send_header("RequestID", "42")
        self.send_header("Content-Length", str(len(content)))
        for name, value in (fault.headers if fault else {}).items():
            self.send_header(name, value)
        self.end_headers()
        kind = fault.kind if fault else ""
        if kind == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        if kind == "drip":
            self._drip(content)
            return
        self.wfile.write(content)

    def _drip(self, content: bytes) -> None:
        try:
            for letter in content:
                self.wfile.write(bytes([letter]))
                self.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass  # the client would not wait
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass
