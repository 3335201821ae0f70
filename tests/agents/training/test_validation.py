# SPDX-License-Identifier: Apache-2.0
"""What a pass over the validation rows says about limits and about the risk that was held."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from mtquant.agents.training.validation import evaluate_parts
from mtquant.core import outcome as oc
from mtquant.core.seeding import SeedTree
from mtquant.data.bars import Float
from mtquant.envs.market_env import MarketEnv
from mtquant.evaluation.metrics import sharpe
from tests.support.markets import walk_world

TIGHT = "environment.max_portfolio_var=0.001"


def validation(*overrides: str) -> MarketEnv:
    return walk_world(*overrides).evaluation_env(1, SeedTree(0), whole=True)


def always_long(observations: np.ndarray) -> np.ndarray:
    return np.ones((len(observations), 1, 1), dtype=np.float32)


def lived(env: MarketEnv) -> tuple[Float, Float]:
    """Outcomes, and use of the VaR limit by close, of an account that wants all it may have."""
    column = env.layout.names().index(f"{env.layout.symbols[0]}.exposure")
    deviation = env.simulator.tape.risk("ewma").rows[:, 0, 0]
    outcomes, uses = [], []
    env.reset()
    while not len(env.step(np.ones((1, 1), dtype=np.float32))):
        outcomes.append(env.outcome(0).copy())
        value_at_risk = norm.ppf(0.95) * deviation[env.simulator.row[0]]
        uses.append(value_at_risk * env.observations[0, column] / 0.001)
    return np.array([*outcomes, env.episode_end(0).outcome]), np.array(uses)


def test_binding_limits_and_use_of_value_at_risk() -> None:
    (found,) = evaluate_parts(always_long, [validation(TIGHT)])
    outcomes, uses = lived(validation(TIGHT))
    bound = outcomes[:, oc.BINDING].astype(int) & oc.LIMIT_VAR > 0
    assert 0.0 < bound.mean() == found["limits/value_at_risk"]
    assert found["validation/var_use"] == pytest.approx(uses.mean(), rel=1e-5)
    # It binds always; between decisions and closes prices move.
    assert found["validation/var_use"] == pytest.approx(1.0, abs=0.1)
    per_year = walk_world(TIGHT).tape.bars_per_year
    assert found["validation/sharpe"] == sharpe(outcomes[:, oc.SIMPLE_RETURN], per_year)
    assert "limits/turnover" not in found


def test_without_the_limit_there_is_no_use_of_it() -> None:
    (found,) = evaluate_parts(always_long, [validation("environment.max_portfolio_var=null")])
    assert "validation/var_use" not in found
