# SPDX-License-Identifier: Apache-2.0
"""`mtquant dashboard` before the page: help, what is missing, what is passed on."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mtquant.cli import dashboard, main
from mtquant.core.errors import ConfigError

RUNNER = CliRunner()


def test_without_streamlit_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'mtquant\[dashboard\]'"):
        dashboard.run([], [], "127.0.0.1", 8501)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_flags_reach_the_server(monkeypatch, tmp_path, host):
    server = pytest.importorskip("mtquant.dashboard.server", reason="streamlit is not installed")
    calls = []
    monkeypatch.setattr(server, "serve", lambda *arguments: calls.append(arguments))
    ledgers = [tmp_path / "a.sqlite", tmp_path / "b.sqlite"]
    flags = [part for own in ledgers for part in ("--ledger", str(own))]
    result = RUNNER.invoke(main.app, ["dashboard", *flags, "--host", host, "--port", "9000"])
    assert result.exit_code == 0, result.output
    ((asked, *address),) = calls
    assert asked.ledgers == tuple(ledgers)
    assert asked.runs == (Path("models"),)
    assert address == [host, 9000]
    assert "(not there yet)" in result.output
    assert ("asks for no password" in result.output.replace("\n", " ")) is (host == "0.0.0.0")


def test_a_port_is_a_port():
    assert RUNNER.invoke(main.app, ["dashboard", "--port", "99999"]).exit_code == 2
