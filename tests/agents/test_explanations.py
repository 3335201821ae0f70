# SPDX-License-Identifier: Apache-2.0
"""Explanations of trained networks: the same decisions, complete, and nothing for the unread."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mtquant.agents.explanations import _Decision, _said, explain_actions, explain_scales
from mtquant.agents.hierarchy import HierarchyPolicy
from mtquant.workflows.backtesting import Market
from tests.support.hierarchies import (
    generator,
    listening_hierarchy,
    momentum_market,
    random_hierarchy,
)
from tests.support.markets import DOMAIN_SYMBOLS, SHARED_OUT, SYMBOLS


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return momentum_market(tmp_path_factory.mktemp("momentum"))


@pytest.fixture(scope="module")
def shared_out(tmp_path_factory: pytest.TempPathFactory) -> Market:
    """A specialist of two instruments and one of one."""
    folder = tmp_path_factory.mktemp("domains")
    return momentum_market(folder, SHARED_OUT, symbols=DOMAIN_SYMBOLS)


@pytest.fixture(params=["market", "shared_out"])
def either(request: pytest.FixtureRequest) -> Market:
    found: Market = request.getfixturevalue(request.param)
    return found


def moments(policy: HierarchyPolicy, count: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observations, messages and scales; some markets are closed."""
    draws, layout = generator(3), policy.hierarchy.layout
    seen = draws.standard_normal((count, layout.size)).astype(np.float32)
    for n, name in enumerate(layout.names()):
        if name.endswith(".tradable"):
            seen[:, n] = draws.random(count) < 0.7
    messages = draws.random((count, len(layout.symbols), 5)).astype(np.float32)
    scales = draws.random((count, len(layout.symbols)))
    said = policy.crew.speak(policy.hierarchy.views(seen, scales))[:, policy.hierarchy.spoken]
    own = policy.hierarchy.tradable(seen)[:, :, None]
    return seen, np.where(own, said, messages), scales


@pytest.mark.parametrize("cap", [None, 0.05])
def test_the_differentiable_decision_is_the_policys(either: Market, cap: float | None) -> None:
    policy = random_hierarchy(either, size=30.0, domains=either.config.domains).policy
    assert isinstance(policy, HierarchyPolicy)
    hierarchy = policy.hierarchy
    if cap is not None:
        hierarchy.name_caps = np.full(len(hierarchy.owner), cap)
    seen, messages, scales = moments(policy, 40)
    if cap is not None:  # the case is met: some would have got more
        exposures = np.abs(policy.scales(seen, messages) * messages[:, :, 0])
        assert 0.1 < (exposures > 0.999 * cap).mean() < 0.9
    views = policy.crew.scaled(hierarchy.views(seen, scales)).transpose(0, 1)
    observed = policy.meta.scaled(hierarchy.observe(seen, messages)[None])[0]
    decide = _Decision(policy, torch.from_numpy(hierarchy.tradable(seen)))
    found = decide([views, observed]).numpy()
    given = policy.scales(seen, messages)
    expected = np.column_stack([given[:, own].mean(axis=1) for own in hierarchy.instruments])
    assert found == pytest.approx(expected, abs=1e-5)
    assert np.ptp(found, axis=0).min() > 0.01
    plain = policy.crew.stack.forward(views.transpose(0, 1))
    for fast, slow in zip(plain, _said(policy.crew.stack, views.transpose(0, 1)), strict=True):
        assert torch.allclose(fast, slow, atol=1e-6)


def test_reasons_of_scales_are_complete(either: Market) -> None:
    policy = random_hierarchy(either, size=30.0, domains=either.config.domains).policy
    assert isinstance(policy, HierarchyPolicy)
    seen, messages, scales = moments(policy)
    found = explain_scales(policy, seen, messages, scales, steps=256)
    assert found.amounts.shape == (6 * 2, len(found.names))
    assert len(set(found.names)) == len(found.names)
    assert np.abs(found.changes).max() > 0.01
    assert found.missing < 0.01 * np.abs(found.changes).max()


def test_reasons_of_actions_are_complete(either: Market) -> None:
    policy = random_hierarchy(either, size=30.0, domains=either.config.domains).policy
    assert isinstance(policy, HierarchyPolicy)
    seen, _, scales = moments(policy)
    views, names = policy.hierarchy.views(seen, scales), policy.view_names()
    for k, each in enumerate(explain_actions(policy.crew, views, names, 256)):
        count = len(policy.hierarchy.instruments[k])
        assert each.names == names[k]
        assert each.amounts.shape == (6 * count, views[k].shape[1])
        mean = policy.crew.stack.forward(policy.crew.scaled(views)).mean[k, :, :count].numpy()
        changes = each.changes.reshape(6, count)
        assert np.diff(changes, axis=0) == pytest.approx(np.diff(mean, axis=0), abs=1e-5)
        assert each.missing < 0.01 * max(1e-3, np.abs(each.changes).max())


def test_what_is_read_is_found_and_nothing_else(market: Market) -> None:
    """The meta-controller reads forecasts, and these read the last return."""
    policy = listening_hierarchy(market).policy
    assert isinstance(policy, HierarchyPolicy)
    seen, messages, scales = moments(policy)
    found = explain_scales(policy, seen, messages, scales)
    moved = {name for n, name in enumerate(found.names) if np.abs(found.amounts[:, n]).max() > 0}
    fresh = {f"{symbol}.log_return_1" for symbol in SYMBOLS}
    standing = {f"{symbol}.forecast_return" for symbol in SYMBOLS}  # where markets are closed
    assert fresh <= moved <= fresh | standing
