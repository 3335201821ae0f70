# SPDX-License-Identifier: Apache-2.0
"""Serves the page: to this machine, without telemetry, prompts or anything from the internet."""

from __future__ import annotations

import contextlib
import importlib
import ipaddress
import socket
import sys
from pathlib import Path

import numpy as np
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from streamlit.starlette import App
from streamlit.web import bootstrap

from mtquant.core.errors import ConfigError
from mtquant.dashboard.asked import Asked
from mtquant.dashboard.front import front
from mtquant.dashboard.theme import DARK, FONT, LIGHT, ROOT_SIZE
from mtquant.risk.limits import correlation_exposure, portfolio_deviation

SCRIPT = Path(__file__).parent / "entry" / "app.py"
LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]", "::1"]


def options(host: str, port: int) -> dict[str, object]:
    """Streamlit's settings, whatever the user's own file of settings says."""
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": True,  # opens no browser and asks for no e-mail address
        "server.showEmailPrompt": False,
        "server.fileWatcherType": "none",
        "server.runOnSave": False,
        "server.enableStaticServing": False,
        "server.enableAgentApi": False,
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "server.allowedHosts": known_names(host),
        "browser.gatherUsageStats": False,
        "browser.serverAddress": host,
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
        "client.showErrorLinks": False,
        "global.developmentMode": False,
        # A chart that is the same as before is sent again: Streamlit may name it by its hash to a
        # browser that has already forgotten it (streamlit issue 11357), and the page is dead then.
        "global.minCachedMessageSize": 1e15,
        "logger.level": "error",
        "logger.hideWelcomeMessage": True,  # the command has said where the page is
        "theme.font": FONT,
        "theme.baseFontSize": ROOT_SIZE,
        "theme.baseRadius": "6px",
        **{f"theme.light.{name}": tone for name, tone in LIGHT.items()},
        **{f"theme.dark.{name}": tone for name, tone in DARK.items()},
    }


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host's address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def known_names(host: str) -> list[str]:
    """Names by which a browser may call the server: a page of the internet that calls itself this
    machine is turned away on loopback. Empty: any, since others know the machine by names that it
    does not.
    """
    return [*LOOPBACK_NAMES, host] if is_loopback(host) else []


def serve(asked: Asked, host: str, port: int) -> None:
    """Serves the page until it is interrupted."""
    chosen = options(host, port)
    bootstrap.load_config_options(chosen)
    _warm()
    sys.argv = [str(SCRIPT), asked.to_text()]  # what the script is told
    with contextlib.suppress(KeyboardInterrupt):
        app(asked.ledgers[0], host).run(config=chosen)


def app(ledger: Path, host: str) -> App:
    """Streamlit's server, with an answer of our own to the first request in front of it.

    Streamlit itself asks for a known name only where a web socket is opened; the figures are in the
    page before that.

    Args:
        ledger: Whose figures that answer shows.
        host: Where it listens.
    """
    known = known_names(host) or ["*"]
    guard = Middleware(TrustedHostMiddleware, allowed_hosts=known, www_redirect=False)
    return App(SCRIPT, routes=[front(ledger)], middleware=[guard])


def check_free(host: str, port: int) -> None:
    """Refuses an address that is taken: Streamlit would say so much later, and in other words.

    Raises:
        ConfigError: It cannot be listened on.
    """
    try:
        kind = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(*kind[:2]) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(kind[4])
    except OSError as error:
        remedy = "Choose another one with --port, or end what listens there."
        raise ConfigError(
            "--host, --port", "must be an address to listen on", f"{host}:{port}: {error}", remedy
        ) from error


def _warm() -> None:
    """Does before the port opens what the first reader would wait for: imports, and the kernels
    that limits are measured by.
    """
    importlib.import_module("mtquant.dashboard.page")
    for measure in (portfolio_deviation, correlation_exposure):
        measure(np.zeros((4, 1)), np.zeros(1))
