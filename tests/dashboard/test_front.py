# SPDX-License-Identifier: Apache-2.0
"""The first answer: figures before the page is there, or Streamlit's page as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mtquant.paper.control import heartbeat_path, request_halt

pytest.importorskip("streamlit", reason="streamlit is not installed")
front = pytest.importorskip("mtquant.dashboard.front")


def answered(path: Path) -> str:
    """What a browser gets."""
    text: str = front.front(path).endpoint(None).body.decode()
    return text


def test_it_holds_the_figures_and_streamlits_page(long):
    text = answered(long.path)
    for part in (f"{long.walk.equity[-1]:,.0f}", "hierarchy", "1,499", "As read at"):
        assert part in text
    assert text.index(front.ROOT) < text.index('id="mt-first"')
    for line in front.SHELL.read_text(encoding="utf-8").splitlines():
        assert line in text or "<title>" in line


def test_it_is_read_anew_for_every_reader_and_kept_by_none(long, tmp_path):
    copy = Path(shutil.copy(long.path, tmp_path))
    answer = front.front(copy).endpoint
    assert b"A person halted" not in answer(None).body
    request_halt(copy, "<b>lunch</b>")
    assert b"A person halted this account: &lt;b&gt;lunch&lt;/b&gt;" in answer(None).body
    assert answer(None).headers["cache-control"] == "no-store"


def test_a_silent_account_is_not_shown_as_a_living_one(long, tmp_path):
    copy = Path(shutil.copy(long.path, tmp_path))
    assert not heartbeat_path(copy).exists()
    assert "unknown is not flat" in front.first(copy)


@pytest.mark.parametrize("content", [None, b"no ledger" * 999])
def test_what_cannot_be_read_is_left_to_the_page(tmp_path, content):
    path = tmp_path / "paper.sqlite"
    if content is not None:
        path.write_bytes(content)
    assert front.first(path) == ""
    assert 'id="root"' in answered(path)
