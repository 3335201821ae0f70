# SPDX-License-Identifier: Apache-2.0
"""What commands print where nobody watches a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from mtquant.cli.console import Lines


def told(*, terminal: bool, every_seconds: float) -> list[str]:
    output = io.StringIO()
    lines = Lines(Console(file=output, force_terminal=terminal), every_seconds)
    for done in range(3):
        lines.tell(f"sft {done} of 3")
    return output.getvalue().splitlines()


def test_a_line_now_and_then_and_none_beside_bars() -> None:
    assert told(terminal=False, every_seconds=0.0) == ["sft 0 of 3", "sft 1 of 3", "sft 2 of 3"]
    assert told(terminal=False, every_seconds=1e6) == ["sft 0 of 3"]
    assert told(terminal=True, every_seconds=0.0) == []
