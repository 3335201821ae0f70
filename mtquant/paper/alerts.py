# SPDX-License-Identifier: Apache-2.0
"""Telling people: a log, a file beside the ledger, and a webhook.

The address of the webhook comes from the environment variable MTQUANT_ALERT_WEBHOOK. Such addresses
hold secrets: it is never written, logged or shown, not even in errors. Alerts never stop trading,
so a webhook that fails is noted once and tried again with the next alert.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

VARIABLE = "MTQUANT_ALERT_WEBHOOK"
WEBHOOK_SECONDS = 5.0
MOST_WAITING = 100

Post = Callable[[str, bytes], None]


def _post(address: str, body: bytes) -> None:
    request = urllib.request.Request(
        address, data=body, headers={"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=WEBHOOK_SECONDS):
        pass


class Alerts:
    """Sends alerts.

    Args:
        path: File that gets a JSON line for each.
        name: Of the account, in every alert.
        post: Sends a body to an address.
    """

    def __init__(self, path: Path, name: str, post: Post = _post) -> None:
        self._path, self._name, self._post = path, name, post
        self._log = logging.getLogger("mtquant.paper")
        self._waiting: queue.Queue[bytes | None] = queue.Queue(MOST_WAITING)
        self._worker: threading.Thread | None = None
        address = os.environ.get(VARIABLE, "")
        # Only these: another scheme (file:) would let an address read from this machine.
        self._address = address if urlsplit(address).scheme in {"https", "http"} else ""
        if address and not self._address:
            self._log.warning("%s is not an http address: no webhook", VARIABLE)

    def send(self, level: str, text: str) -> None:
        """Tells everybody; never raises.

        Args:
            level: ``"info"``, ``"warning"`` or ``"critical"``.
            text: What happened; no secrets.
        """
        row = {"time": time.time(), "account": self._name, "level": level, "text": text}
        line = json.dumps(row)
        self._log.log(logging.getLevelName(level.upper()), "%s: %s", self._name, text)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            self._log.warning("alert file: %s", error.strerror)
        if self._address:
            self._queue(line.encode())

    def _queue(self, body: bytes) -> None:
        if self._worker is None:
            self._worker = threading.Thread(target=self._work, daemon=True)
            self._worker.start()
        try:
            self._waiting.put_nowait(body)
        except queue.Full:
            self._log.warning("webhook: too many alerts wait, one was dropped")

    def _work(self) -> None:
        while (body := self._waiting.get()) is not None:
            try:
                self._post(self._address, body)
            except Exception as error:
                self._log.warning("webhook failed: %s", type(error).__name__)

    def close(self) -> None:
        """Gives waiting alerts a moment to leave."""
        if self._worker is not None:
            self._waiting.put(None)
            self._worker.join(WEBHOOK_SECONDS)
