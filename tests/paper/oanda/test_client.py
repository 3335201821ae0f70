# SPDX-License-Identifier: Apache-2.0
"""Pace, patience and secrets of the HTTP client."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import ValidationError

from mtquant.core.errors import ConfigError
from mtquant.core.paper_config import OandaConfig
from mtquant.paper.broker import BrokerError, BrokerTimeout
from mtquant.paper.oanda.client import Keys, OandaClient
from tests.support.oanda_server import ACCOUNT, QUICK, TOKEN, Fault, OandaServer


@pytest.fixture
def server() -> Iterator[OandaServer]:
    with OandaServer() as made:
        yield made


class Waits(list):
    """Remembers how long somebody slept."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def client(server: OandaServer, config: OandaConfig = QUICK, **more) -> OandaClient:
    return server.broker(config, **more).client


@pytest.mark.parametrize(
    ("token", "account"),
    [("", ACCOUNT), (TOKEN, ""), ("two words", ACCOUNT), ("new\nline", ACCOUNT), ("é", ACCOUNT)],
)
def test_keys_that_cannot_be_are_refused_and_not_shown(token, account, monkeypatch):
    monkeypatch.setenv("OANDA_API_TOKEN", token)
    monkeypatch.setenv("OANDA_ACCOUNT_ID", account)
    with pytest.raises(ConfigError, match="OANDA_") as caught:
        Keys.from_environment()
    assert not token or token not in str(caught.value)
    assert not account or account not in str(caught.value)


def test_keys_that_are_not_set_are_named(monkeypatch):
    monkeypatch.delenv("OANDA_API_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="OANDA_API_TOKEN must be set"):
        Keys.from_environment()


def test_the_token_is_not_sent_in_the_clear_to_another_machine():
    for address in ("http://example.com", "ftp://127.0.0.1", "http://127.0.0.1.example.com"):
        with pytest.raises(ConfigError, match="https"):
            OandaClient(QUICK, Keys(TOKEN, ACCOUNT), address=address)


def test_only_practice_and_live_are_environments():
    with pytest.raises(ValidationError):
        OandaConfig(environment="demo")


def test_every_question_carries_the_token_and_the_format(server):
    client(server).post("/orders", {"order": {"clientExtensions": {"id": "a"}}}, "a")
    (headers,) = server.headers
    assert headers["Authorization"] == f"Bearer {TOKEN}"
    assert headers["Accept-Datetime-Format"] == "RFC3339"
    assert headers["ClientRequestID"] == "a"


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_venue_is_asked_again_when_it_says(server, status):
    waits = Waits()
    server.faults.append(Fault(status, times=2, headers={"Retry-After": "1"}))
    patient = QUICK.model_copy(update={"most_seconds": 60.0})
    asked = client(server, patient, sleep=waits, jitter=np.random.default_rng(1))
    assert asked.get("/summary").good
    pauses = [wait for wait in waits if wait > 0.5]
    assert len(pauses) == 2
    assert all(1.0 <= wait <= 1.25 for wait in pauses)
    assert pauses[0] != pauses[1]


def test_pauses_grow_where_the_venue_does_not_say(server):
    waits = Waits()
    server.faults.append(Fault(429, times=4, headers={"Retry-After": "soon"}))
    patient = QUICK.model_copy(update={"most_seconds": 60.0})
    assert client(server, patient, sleep=waits).get("/summary").good
    pauses = [wait for wait in waits if wait > 0.1]
    assert all(0.25 * 2**k <= wait <= 0.3125 * 2**k for k, wait in enumerate(pauses))
    assert len(pauses) == 4


def test_patience_ends(server):
    waits = Waits()
    server.faults.append(Fault(429, times=99, headers={"Retry-After": "10"}))
    with pytest.raises(BrokerTimeout, match="status 429, for too long"):
        client(server, sleep=waits).get("/summary")
    assert not [wait for wait in waits if wait > 1.0]  # nobody waits for what comes too late


def test_an_order_is_sent_again_only_where_it_was_refused_at_the_door(server):
    order = {"order": {"clientExtensions": {"id": "a"}, "instrument": "?"}}
    server.faults.append(Fault(429, "POST", headers={"Retry-After": "0"}))
    assert client(server).post("/orders", order, "a").status == 400
    assert len(server.requests) == 2
    server.faults.append(Fault(503, "POST", headers={"Retry-After": "0"}))
    with pytest.raises(BrokerTimeout):
        client(server).post("/orders", order, "a")
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [401, 403, 405, 301])
def test_what_asking_again_does_not_change_is_an_error(server, status):
    elsewhere = {"Location": "http://example.com/"} if status == 301 else {}
    server.faults.append(Fault(status, headers=elsewhere))
    with pytest.raises(BrokerError, match=f"status {status}") as caught:
        client(server).get("/summary")
    assert not isinstance(caught.value, BrokerTimeout)
    assert "<token>" in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", [500, 502, 504, 408, "early", "cut", "lost", "slow", "drip"])
def test_what_nobody_knows_is_a_time_out(server, kind):
    server.faults.append(Fault(kind))
    impatient = QUICK.model_copy(update={"timeout_seconds": 0.3})
    with pytest.raises(BrokerTimeout):
        client(server, impatient).get("/summary")


def test_nobody_there_is_a_time_out():
    asked = OandaClient(QUICK, Keys(TOKEN, ACCOUNT), address="http://127.0.0.1:9")
    with pytest.raises(BrokerTimeout, match="ConnectError"):
        asked.get("/summary")
    asked.close()


def test_a_wrong_token_or_account_is_an_error(server):
    for keys in (Keys("other", ACCOUNT), Keys(TOKEN, "other")):
        asked = OandaClient(QUICK, keys, address=server.address)
        with pytest.raises(BrokerError, match="accept token and account"):
            asked.get("/summary")
        asked.close()


def test_we_ask_no_faster_than_we_may(server):
    waits = Waits()
    asked = client(server, QUICK.model_copy(update={"requests_per_second": 0.5}), sleep=waits)
    for _ in range(3):
        asked.get("/summary")
    assert len(waits) == 2
    assert sum(waits) == pytest.approx(2.0 + 4.0, abs=2.0)  # nobody really slept


@pytest.mark.parametrize(("ahead", "told"), [(0.0, 0), (3.0, 0), (60.0, 1), (-60.0, 1)])
def test_a_clock_that_differs_is_told_once(server, caplog, ahead, told):
    server.clock_ahead = ahead
    asked = client(server)
    with caplog.at_level(logging.WARNING, "mtquant.paper"):
        for _ in range(3):
            asked.get("/summary")
    assert len([own for own in caplog.records if "clock" in own.getMessage()]) == told
    assert asked.clock_skew_seconds == pytest.approx(ahead, abs=2.0)


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "mtquant.paper.oanda.client")
    with pytest.raises(ConfigError, match=r"mtquant\[oanda\]"):
        importlib.import_module("mtquant.paper.oanda.client")
