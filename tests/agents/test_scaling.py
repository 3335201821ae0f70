# SPDX-License-Identifier: Apache-2.0
"""Every input is scaled by its own rule."""

from __future__ import annotations

import numpy as np

from mtquant.agents.scaling import observation_scaling
from mtquant.features.pipeline import Scaler
from mtquant.market.observation import ACCOUNT_NAMES, ObservationLayout
from mtquant.rewards.compose import STATE_NAMES


def test_every_entry_is_scaled_by_its_own_rule() -> None:
    layout = ObservationLayout(("EURUSD",), ("log_return_1", "rsi_14"), 2, STATE_NAMES)
    scaler = Scaler(
        np.array([0.5, 50.0], dtype=np.float32), np.array([0.01, 10.0], dtype=np.float32)
    )
    mean, scale = observation_scaling(layout, [scaler], unit=0.2)
    expected = {
        "EURUSD.log_return_1[-1]": (0.5, 0.01),
        "EURUSD.rsi_14[-1]": (50.0, 10.0),
        "EURUSD.log_return_1": (0.5, 0.01),
        "EURUSD.rsi_14": (50.0, 10.0),
        "EURUSD.exposure": (0.0, 0.2),  # unit
        "EURUSD.open_return": (0.0, 0.02),  # OPEN_RETURN_SCALE
        "EURUSD.held_bars": (0.0, 1.0),
        "EURUSD.cost": (0.0, 1.0),
        "EURUSD.tradable": (0.0, 1.0),
        # The account block is not looked at: a scale of infinity makes it 0.
        **dict.fromkeys((*ACCOUNT_NAMES, *STATE_NAMES), (0.0, np.inf)),
    }
    assert layout.names() == tuple(expected)
    np.testing.assert_allclose(np.column_stack([mean, scale]), list(expected.values()), rtol=1e-7)
    assert mean.dtype == scale.dtype == np.float32
