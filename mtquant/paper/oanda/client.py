# SPDX-License-Identifier: Apache-2.0
"""Questions to OANDA over HTTP: pace, patience, and what an answer means.

The token and the account's number are secrets: they are read from the environment, kept out of
every `repr`, log and error, and cut out of what OANDA answers before anybody sees it.

An answer is one of three things. *Said*: status 200, 201, 400 or 404, for the caller to read.
*Cannot be used* (`BrokerError`): token or account refused, or a request that OANDA does not know;
asking again changes nothing. *Nobody knows* (`BrokerTimeout`): everything else.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from mtquant.core.errors import ConfigError
from mtquant.core.paper_config import OandaConfig
from mtquant.paper.broker import BrokerError, BrokerTimeout

try:
    import httpx
except ImportError as error:  # pragma: no cover - the test environment has it
    rule, remedy = "must be installed to trade at OANDA", "pip install 'mtquant[oanda]'"
    raise ConfigError("httpx", rule, str(error), remedy) from error

TOKEN, ACCOUNT = "OANDA_API_TOKEN", "OANDA_ACCOUNT_ID"
HOSTS = {
    "practice": "https://api-fxpractice.oanda.com",
    "live": "https://api-fxtrade.oanda.com",
}
SAID = frozenset({200, 201, 400, 404})
TOO_MANY, UNAVAILABLE = 429, 503
IDLE_SECONDS = 20.0  # a connection that idled longer may be dead: a new one is safer for an order
FIRST_PAUSE_SECONDS = 0.25
LONGEST_ANSWER = 64 * 2**20
SHOWN = 160  # characters of an error message
STAMP_SECONDS = 1.0  # the Date header counts whole seconds

_log = logging.getLogger("mtquant.paper")


@dataclass(frozen=True)
class Keys:
    """Token and account.

    Raises:
        ConfigError: One is missing or cannot be one; the message does not show it.
    """

    token: str = field(repr=False)
    account: str = field(repr=False)

    def __post_init__(self) -> None:
        for name, value in ((TOKEN, self.token), (ACCOUNT, self.account)):
            # Anything else would not fit into a header or a path, and be shown by who complains.
            if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", value):
                found = "nothing" if not value else "characters that cannot be part of it"
                remedy = "Set the environment variable; docs/oanda.md says where it comes from."
                raise ConfigError(name, "must be set to what OANDA gave you", found, remedy)

    @classmethod
    def from_environment(cls) -> Keys:
        """Those of OANDA_API_TOKEN and OANDA_ACCOUNT_ID."""
        return cls(os.environ.get(TOKEN, "").strip(), os.environ.get(ACCOUNT, "").strip())

    def cut_from(self, text: str) -> str:
        """A text without them."""
        return text.replace(self.token, "<token>").replace(self.account, "<account>")


@dataclass(frozen=True)
class Reply:
    """What OANDA said.

    Attributes:
        status: 200, 201, 400 or 404.
        body: The JSON object; empty where an error had none.
    """

    status: int
    body: dict[str, Any]

    @property
    def good(self) -> bool:
        """Whether it did what it was asked."""
        return self.status < 300

    @property
    def complaint(self) -> str:
        """Its words for an error."""
        parts = (str(self.body.get(key, "")) for key in ("errorCode", "errorMessage"))
        return " ".join(part for part in parts if part)[:SHOWN] or f"status {self.status}"


@dataclass(frozen=True)
class Request:
    """What OANDA is asked.

    Attributes:
        method: HTTP's.
        path: Below the account, with its slash.
        query: Parameters.
        body: JSON object, or None.
        label: Ours, for OANDA's logs; empty for none.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    label: str = ""

    @property
    def changes_nothing(self) -> bool:
        """Whether it can be asked twice."""
        return self.method == "GET"

    def unanswered(self, what: str) -> BrokerTimeout:
        """The error where nobody knows what became of it."""
        remedy = "Ask what became of it."
        name = f"OANDA {self.method} {self.path}"
        return BrokerTimeout(name, "must be answered", what, remedy)


class OandaClient:
    """One account at OANDA, over one connection.

    Args:
        config: Patience and pace.
        keys: Token and account.
        max_clock_skew_seconds: Difference of the clocks that is worth a warning.
        address: In place of OANDA's own; without encryption only on this machine.
        jitter: Draws a part of every pause, so that clients do not come back together.
        sleep: Waits that many seconds.

    Attributes:
        clock_skew_seconds: OANDA's clock minus ours, from its last answer; NaN before.

    Raises:
        ConfigError: The address would send the token in the clear.
    """

    def __init__(
        self,
        config: OandaConfig,
        keys: Keys,
        max_clock_skew_seconds: float = 5.0,
        address: str | None = None,
        jitter: np.random.Generator | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        _hush()
        self.config, self._keys, self._sleep = config, keys, sleep
        self._jitter = jitter or np.random.default_rng()
        self._largest_skew, self._skewed = max_clock_skew_seconds, False
        self.clock_skew_seconds = float("nan")
        self._next = 0.0  # moment of the next request
        self._http = httpx.Client(
            base_url=_checked(address or HOSTS[config.environment]),
            headers={
                "Authorization": f"Bearer {keys.token}",
                "Accept-Datetime-Format": "RFC3339",
            },
            verify=_certificates(),
            timeout=config.timeout_seconds,
            limits=httpx.Limits(max_connections=1, keepalive_expiry=IDLE_SECONDS),
            follow_redirects=False,  # the token goes nowhere else
        )

    def get(self, path: str, **query: str) -> Reply:
        """Asks; again where OANDA is busy.

        Args:
            path: Below the account, with its slash.
            query: Parameters.

        Raises:
            BrokerTimeout: No answer, or one that is cut.
            BrokerError: Refused for good.
        """
        return self._ask(Request("GET", path, query))

    def post(self, path: str, body: Mapping[str, Any], label: str) -> Reply:
        """Tells; never twice, unless OANDA refused to listen. `label` is ours, for their logs."""
        return self._ask(Request("POST", path, body=body, label=label))

    def put(self, path: str) -> Reply:
        """Tells, without a body."""
        return self._ask(Request("PUT", path))

    def demand(self, path: str, **query: str) -> dict[str, Any]:
        """`get` where only a good answer makes sense.

        Raises:
            BrokerError: Also where OANDA knows no such thing.
        """
        reply = self.get(path, **query)
        if not reply.good:
            raise self._refused(path, reply)
        return reply.body

    def _refused(self, path: str, reply: Reply) -> BrokerError:
        remedy = "Check OANDA_ACCOUNT_ID and paper.oanda.environment."
        return BrokerError(f"OANDA {path}", "must be answered", reply.complaint, remedy)

    def close(self) -> None:
        """Hangs up."""
        self._http.close()

    def _ask(self, request: Request) -> Reply:
        deadline = time.monotonic() + self.config.most_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            status, content, headers = self._once(request)
            # Refused at the door: nothing was done. 503 says so only of what changes nothing.
            busy = status == TOO_MANY or (status == UNAVAILABLE and request.changes_nothing)
            if not busy:
                return self._reply(request, status, content, headers)
            wait = _retry_after(headers, pause) * (1.0 + 0.25 * self._jitter.random())
            if time.monotonic() + wait > deadline:
                raise request.unanswered(f"status {status}, for too long")
            self._sleep(wait)
            pause *= 2.0

    def _once(self, request: Request) -> tuple[int, bytes, httpx.Headers]:
        """One request."""
        self._keep_pace()
        sent, limit = time.time(), time.monotonic() + self.config.timeout_seconds
        headers = {"ClientRequestID": request.label} if request.label else {}
        address = f"/v3/accounts/{self._keys.account}{request.path}"
        try:
            with self._http.stream(
                request.method,
                address,
                params=request.query,
                json=request.body,
                headers=headers,
            ) as response:
                chunks, size = [], 0
                for chunk in response.iter_bytes():
                    size += len(chunk)
                    # The library's time-out is of one chunk: a drip would keep us for ever.
                    if time.monotonic() > limit or size > LONGEST_ANSWER:
                        raise httpx.ReadTimeout("the answer takes too long")
                    chunks.append(chunk)
                self._watch_clock(response.headers, sent)
                return response.status_code, b"".join(chunks), response.headers
        except httpx.RequestError as error:
            # Not `from error`: it carries the request, and the request the token.
            raise request.unanswered(type(error).__name__) from None

    def _reply(
        self, request: Request, status: int, content: bytes, headers: httpx.Headers
    ) -> Reply:
        try:
            body = json.loads(self._keys.cut_from(content.decode()))
        except ValueError:
            body = None
        known = body if isinstance(body, dict) else {}
        reply = Reply(status, known)
        if status in SAID:
            if reply.good and body is not known:
                raise request.unanswered("an answer that is no JSON object")
            return reply
        name = self._keys.cut_from(headers.get("RequestID", "none"))
        if status >= 500 or status in (408, TOO_MANY):
            raise request.unanswered(f"status {status}, RequestID {name}")
        if status in (401, 403):
            rule = "must accept token and account"
            remedy = f"Check {TOKEN}, {ACCOUNT} and paper.oanda.environment."
        else:
            rule, remedy = "must know the request", "See docs/oanda.md."
        found = f"status {status}: {reply.complaint}, RequestID {name}"
        raise BrokerError("OANDA", rule, found, remedy)

    def _keep_pace(self) -> None:
        now = time.monotonic()
        if self._next > now:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + 1.0 / self.config.requests_per_second

    def _watch_clock(self, headers: httpx.Headers, sent: float) -> None:
        """Holds OANDA's clock against ours; a warning when they begin to differ."""
        try:
            theirs = parsedate_to_datetime(headers.get("Date", "")).timestamp()
        except (TypeError, ValueError):
            return
        received = time.time()
        ours = (sent + received) / 2.0
        self.clock_skew_seconds = theirs + STAMP_SECONDS / 2.0 - ours
        doubt = STAMP_SECONDS / 2.0 + (received - sent) / 2.0
        skewed = abs(self.clock_skew_seconds) > self._largest_skew + doubt
        if skewed and not self._skewed:
            text = "OANDA's clock is %.0f s away from ours"
            _log.warning(text, self.clock_skew_seconds)
        self._skewed = skewed


def _hush() -> None:
    """Of httpx: it logs every address at INFO, and the account's number is in it."""
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        if logger.level < logging.WARNING:
            logger.setLevel(logging.WARNING)


@functools.cache
def _certificates() -> ssl.SSLContext:
    """Whom to believe; reading them takes most of a second, so it is done once."""
    return httpx.create_ssl_context()


def _checked(address: str) -> str:
    parts = urlsplit(address)
    here = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if parts.scheme != "https" and not (parts.scheme == "http" and here):
        rule = "must be an https address, or one of this machine"
        raise ConfigError("address of OANDA", rule, address, "Leave it out for OANDA's own.")
    return address


def _retry_after(headers: httpx.Headers, otherwise: float) -> float:
    """Seconds that the server asks us to wait; a date or nonsense counts as not said."""
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:
        return otherwise
