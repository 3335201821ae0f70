# SPDX-License-Identifier: Apache-2.0
"""The first answer to a browser: Streamlit's page, with the account's figures already in it.

That page is empty until its scripts are loaded and have run, have opened a web socket, and have
been sent what the page's script drew: the larger part of two seconds. The figures need none of
that. They lie over the page until its own ones are there, and say when they were read.
"""

from __future__ import annotations

import time
from html import escape
from pathlib import Path

import streamlit
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from mtquant.core.errors import MtquantError
from mtquant.dashboard import markup
from mtquant.dashboard.accounts import account
from mtquant.dashboard.head import head
from mtquant.dashboard.theme import DARK, FONT, LIGHT, ROOT_SIZE

SHELL = Path(streamlit.__file__).parent / "static" / "index.html"
ROOT = '<div id="root"></div>'
HEADERS = {"Cache-Control": "no-store"}
LOOK = f"""<style>
:root {{ font-size: {ROOT_SIZE}px; }}
#mt-first {{ position: fixed; inset: 0; z-index: 999999; overflow: auto; box-sizing: border-box;
  font: 400 1rem/1.6 {FONT}; font-variant-numeric: tabular-nums; padding: 4.4rem 1.6rem;
  background: {LIGHT["backgroundColor"]}; color: {LIGHT["textColor"]}; }}
#mt-first > * {{ max-width: 92.8rem; margin: 0 auto; }}
#mt-first > p {{ font-size: .86rem; opacity: .7; margin-top: 1.4rem; }}
@media (max-width: 600px) {{ #mt-first {{ padding: 4rem .9rem; }} }}
@media (prefers-color-scheme: dark) {{
  #mt-first {{ background: {DARK["backgroundColor"]}; color: {DARK["textColor"]}; }} }}
</style>"""
# Away with it as soon as the page shows an account, or has to say why it cannot.
LEAVE = """<script>
new MutationObserver((changes, watch) => {
  if (!document.querySelector("#root .mt-head, #root [role=alert], [role=dialog]")) return;
  document.getElementById("mt-first").remove();
  watch.disconnect();
}).observe(document.body, {childList: true, subtree: true});
</script>"""


def front(ledger: Path) -> Route:
    """What answers for the page itself; everything else is Streamlit's."""
    shell = SHELL.read_text(encoding="utf-8").replace("<title>Streamlit<", "<title>mtquant<")

    def answer(request: Request) -> HTMLResponse:
        return HTMLResponse(shell.replace(ROOT, ROOT + first(ledger)), headers=HEADERS)

    return Route("/", answer)


def first(ledger: Path) -> str:
    """The figures of an account, for as long as the page has none; nothing where they cannot be
    read: the page will say why.
    """
    try:
        shown = head(ledger, account(ledger))
    except MtquantError:
        return ""
    said = f"As read at {time.strftime('%H:%M:%S', time.gmtime())} UTC; the page is on its way."
    return f'<div id="mt-first">{markup.SHEET}{LOOK}{shown}<p>{escape(said)}</p></div>{LEAVE}'
