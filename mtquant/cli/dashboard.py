# SPDX-License-Identifier: Apache-2.0
"""`mtquant dashboard`: checks what it needs, says where the page is, and serves it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mtquant.cli.console import say
from mtquant.core.errors import ConfigError


def run(ledgers: Sequence[Path], runs: Sequence[Path], host: str, port: int) -> None:
    """Serves the page until Ctrl-C.

    Raises:
        ConfigError: Streamlit is missing, or the address is taken.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise ConfigError(
            "mtquant dashboard",
            "needs the extra `dashboard`",
            "no module streamlit",
            "Install it: pip install 'mtquant[dashboard]', or pip install -e '.[dashboard]' here.",
        )
    from mtquant.dashboard.asked import Asked
    from mtquant.dashboard.server import check_free, is_loopback, serve  # needs streamlit

    check_free(host, port)
    console = Console()
    for ledger in ledgers:
        say(console, f"ledger        {ledger}{'' if ledger.exists() else ' (not there yet)'}")
    say(console, f"runs          {', '.join(map(str, runs))}")
    if not is_loopback(host):
        text = f"warning: whoever reaches {host} reads these ledgers; the page asks for no password"
        say(console, text, style="yellow")
    say(console, f"page          http://{host}:{port} (Ctrl-C ends)")
    serve(Asked(tuple(ledgers), tuple(runs)), host, port)
