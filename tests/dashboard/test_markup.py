# SPDX-License-Identifier: Apache-2.0
"""Pieces of HTML: texts from a ledger stay texts, and bars say what they show."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from mtquant.dashboard import markup
from mtquant.evaluation.report.style import LOSS_COLOUR, POLICY_COLOUR, STOP_COLOUR

EVIL = "<script>alert(1)</script>\"'"


@pytest.mark.parametrize(
    "made",
    [
        markup.title(EVIL, EVIL),
        markup.banner(EVIL, LOSS_COLOUR),
        markup.word(EVIL, LOSS_COLOUR),
        markup.legend([(EVIL, LOSS_COLOUR)]),
        markup.facts({EVIL: EVIL}),
        markup.tiles([(EVIL, "1", EVIL)]),
        markup.limit_bars(
            pd.DataFrame(
                [(EVIL, 0.1, 0.2, 0.5, EVIL)],
                columns=["limit", "used", "bound", "share", "whose"],
            )
        ),
    ],
)
def test_texts_are_escaped(made):
    assert "<script" not in made
    assert "&lt;script&gt;" in made


@pytest.mark.parametrize(
    ("share", "width", "tone", "says"),
    [
        (0.5, 50.0, POLICY_COLOUR, "50.0% of 100.0%"),
        (1.0, 100.0, POLICY_COLOUR, "100.0% of 100.0%"),
        (1.2, 100.0, STOP_COLOUR, "120.0% of 100.0%"),
        (markup.SLACK + 0.1, 100.0, LOSS_COLOUR, "160.0% of 100.0%"),
        (np.nan, 100.0, LOSS_COLOUR, "unknown of 100.0%"),
        (np.inf, 100.0, LOSS_COLOUR, "unknown of 100.0%"),
    ],
)
def test_a_bar_is_as_long_as_the_use_of_its_limit(share, width, tone, says):
    row = [("gross", share, 1.0, share, "")]
    made = markup.limit_bars(
        pd.DataFrame(row, columns=["limit", "used", "bound", "share", "whose"])
    )
    assert re.findall(r"width:([\d.]+)%;--mt-tone:(#\w+)", made) == [(f"{width:.1f}", tone)]
    assert says in made


def test_what_a_card_does_not_say_is_left_out():
    assert "seed" not in markup.facts({"seed": "", "commit": "abc"})
