# SPDX-License-Identifier: Apache-2.0
"""What the catalogue says about a kind of feature, and how long averages remember.

Warm-up counts the bars without a value. A windowed kind needs its window and nothing else. A
recursive kind remembers all of history with weights (1 - alpha)^age, so it waits until what came
before weighs less than 1e-9 (`START_WEIGHT`): ceil(log(1e-9) / log(1 - alpha)) bars.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

START_WEIGHT = 1e-9


def as_numbers(*params: int) -> tuple[float, ...]:
    """The parameters themselves, as the kernels read them."""
    return tuple(float(param) for param in params)


@dataclass(frozen=True)
class Kind:
    """One row of the catalogue.

    Attributes:
        code: Integer of its kernel in the switch of its family.
        parameters: Names of the numbers in the feature's name, all counted in bars.
        minimum: Smallest legal value of each.
        default: Usual value of each.
        warmup_bars: From the parameters to the number of bars before the first value. A windowed
            kind reads no row older than that.
        description: One line: what it is, its range, its source.
        output: Which of the kernel's three values it is: kinds that come of one computation share
            a kernel.
        state_size: Numbers that a recursive kind keeps between two bars; 0 makes it windowed.
        numbers: From the parameters to what the kernel reads, at most four.
        rule: What the parameters have to be to each other, in words and as a function.
        needs: ``"peer"`` where the name ends in another instrument (``beta_60:SPX500``),
            ``"session"`` where the instrument's session has to be known.
    """

    code: int
    parameters: tuple[str, ...]
    minimum: tuple[int, ...]
    default: tuple[int, ...]
    warmup_bars: Callable[..., int]
    description: str
    output: int = 0
    state_size: int = 0
    numbers: Callable[..., tuple[float, ...]] = as_numbers
    rule: tuple[str, Callable[..., bool]] | None = None
    needs: Literal["", "peer", "session"] = ""


def settling_bars(alpha: float) -> int:
    """Bars until the start of history weighs less than `START_WEIGHT` in an average."""
    return math.ceil(math.log(START_WEIGHT) / math.log1p(-alpha))


def span_alpha(span_bars: int) -> float:
    """Weight of the newest bar in an exponential average given by its span: 2 / (span + 1)."""
    return 2.0 / (span_bars + 1.0)


def halflife_alpha(halflife_bars: int) -> float:
    """The same for an average whose weights halve in so many bars: 1 - 2^(-1 / halflife)."""
    return 1.0 - 0.5 ** (1.0 / halflife_bars)


def settling_of_span(span_bars: int) -> int:
    """`settling_bars` of an average given by its span."""
    return settling_bars(span_alpha(span_bars))


def settling_of_wilder(window_bars: int) -> int:
    """`settling_bars` of Wilder's average, alpha = 1 / window."""
    return settling_bars(1.0 / window_bars)


def levels(code: int, default: int, description: str, minimum: int = 2, output: int = 0) -> Kind:
    """A windowed kind that looks at the newest w bars."""
    return Kind(
        code,
        ("window_bars",),
        (minimum,),
        (default,),
        lambda window: window - 1,
        description,
        output,
    )


def changes(
    code: int,
    default: int,
    description: str,
    minimum: int = 2,
    output: int = 0,
    needs: Literal["", "peer"] = "",
) -> Kind:
    """A windowed kind that looks at the newest w changes from bar to bar, hence at w + 1 bars."""
    return Kind(
        code,
        ("window_bars",),
        (minimum,),
        (default,),
        lambda window: window,
        description,
        output,
        needs=needs,
    )
