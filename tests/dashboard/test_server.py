# SPDX-License-Identifier: Apache-2.0
"""How the page is served: to this machine, quietly."""

from __future__ import annotations

import socket

import pytest

from mtquant.core.errors import ConfigError
from mtquant.dashboard.asked import Asked

pytest.importorskip("streamlit", reason="streamlit is not installed")
server = pytest.importorskip("mtquant.dashboard.server")


@pytest.mark.parametrize(
    ("host", "own"),
    [
        *(("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.9.9.9", True)),
        *(("0.0.0.0", False), ("192.168.1.9", False), ("::", False), ("example.org", False)),
    ],
)
def test_what_only_this_machine_reaches(host, own):
    assert server.is_loopback(host) is own
    assert bool(server.options(host, 8501)["server.allowedHosts"]) is own


def test_no_telemetry_no_prompt_no_agents():
    options = server.options("127.0.0.1", 8501)
    assert options["browser.gatherUsageStats"] is False
    assert options["server.headless"] is True
    assert options["server.enableAgentApi"] is False
    assert (options["server.address"], options["server.port"]) == ("127.0.0.1", 8501)


def test_every_option_is_one_that_streamlit_knows():
    from streamlit import config

    assert set(server.options("127.0.0.1", 8501)) <= set(config.get_config_options())


def test_a_port_that_is_taken_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match="must be an address to listen on"):
            server.check_free("127.0.0.1", port)
    server.check_free("127.0.0.1", port)


def test_what_was_asked_survives_the_way_to_the_script(tmp_path):
    asked = Asked((tmp_path / "a b.sqlite", tmp_path / "ü"), (tmp_path,))
    assert Asked.from_text(asked.to_text()) == asked
