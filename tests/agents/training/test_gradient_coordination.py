# SPDX-License-Identifier: Apache-2.0
"""Coordination per specialist: forms, clipping, rates, broken goals, diagnostics."""

from __future__ import annotations

import pytest
import torch

from mtquant.agents.training.gradient_coordination import DIAGNOSTICS, GradientCoordinationSystem
from mtquant.core.errors import ConfigError, PolicyError
from mtquant.learning.gradients import WEIGHTINGS

META = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
OWN = torch.tensor([[1.0, 0.0], [0.0, -1.0], [1.0, -1.0]])


def test_the_sum_is_the_gradient_of_the_summed_losses() -> None:
    weights = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    losses = (weights**2).sum(1), torch.sin(weights).sum(1)
    meta, own = (torch.autograd.grad(loss.sum(), weights, retain_graph=True)[0] for loss in losses)
    (expected,) = torch.autograd.grad((losses[0] + losses[1]).sum(), weights)
    found = GradientCoordinationSystem("sum").coordinate_updates(meta, own)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", WEIGHTINGS)
def test_specialists_do_not_know_of_each_other(method: str) -> None:
    system = GradientCoordinationSystem(method)
    together = system.coordinate_updates(META, OWN)
    turned = system.coordinate_updates(META.flip(0), OWN.flip(0))
    assert torch.equal(together, turned.flip(0))
    named = system.coordinate_updates(
        {str(k): META[k].view(2, 1) for k in range(3)},
        {str(k): OWN[k].view(2, 1) for k in range(3)},
    )
    for k in range(3):
        torch.testing.assert_close(named[str(k)][:, 0], together[k])


def test_upgrad_by_hand() -> None:
    """The second pair is opposite: each projection on the other's dual cone is nothing. In the
    third they are orthogonal, and nothing is projected.
    """
    found = GradientCoordinationSystem("upgrad").coordinate_updates(META, OWN)
    expected = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", WEIGHTINGS)
def test_a_goal_that_is_not_finite_does_not_count(method: str) -> None:
    """And the others do not notice."""
    meta, own = torch.cat((META, META)), torch.cat((OWN, OWN))
    meta[0, 0], own[2, 1], meta[1], own[1] = torch.nan, torch.inf, torch.nan, torch.nan
    system = GradientCoordinationSystem(method)
    found = system.coordinate_updates(meta, own)
    assert torch.equal(found[0], own[0])
    assert torch.equal(found[2], meta[2])
    assert bool(found[1].isnan().all())
    refused = [row["coordination/refused_rate"] for row in system.diagnostics()]
    assert refused == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]
    usual = GradientCoordinationSystem(method).coordinate_updates(META, OWN)
    assert torch.equal(found[3:], usual)


def test_refused_minibatches_do_not_enter_the_means() -> None:
    system = GradientCoordinationSystem("upgrad")
    system.coordinate_updates(META, OWN)
    system.coordinate_updates(META, torch.full_like(OWN, torch.nan))
    usual = GradientCoordinationSystem("upgrad")
    usual.coordinate_updates(META, OWN)
    for found, expected in zip(system.diagnostics(), usual.diagnostics(), strict=True):
        assert found == {**expected, "coordination/refused_rate": 0.5}


def test_clipping_keeps_the_direction() -> None:
    gradients = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    clipped = GradientCoordinationSystem.gradient_clipping(gradients, 1.0)
    torch.testing.assert_close(
        clipped, torch.tensor([[0.6, 0.8], [0.3, 0.4]]), rtol=1e-5, atol=1e-6
    )
    assert gradients[0, 0] == 3.0
    named = GradientCoordinationSystem.gradient_clipping({"a": gradients[0]}, 1.0)
    torch.testing.assert_close(named["a"], torch.tensor([0.6, 0.8]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("moved", "conflict", "factor"),
    [(0.03, 0.0, 1 / 1.5), (0.004, 0.1, 1.5), (0.004, 0.9, 1.0), (0.01, 0.0, 1.0)],
)
def test_rates_follow_the_distance_moved(moved: float, conflict: float, factor: float) -> None:
    system = GradientCoordinationSystem(target_kl=0.01)
    metrics = {"train/approx_kl": moved, "coordination/conflict_rate": conflict}
    assert system.adaptive_learning_rates(metrics) == pytest.approx(factor)


def test_rates_keep_their_bounds() -> None:
    system = GradientCoordinationSystem(target_kl=0.01)
    scale = 1.0
    for _ in range(10):
        scale = system.adaptive_learning_rates({"train/approx_kl": float("nan")}, scale)
    assert scale == 0.1
    for _ in range(20):
        scale = system.adaptive_learning_rates({"train/approx_kl": 0.0}, scale)
    assert scale == 10.0
    with pytest.raises(PolicyError, match="performance_metrics must hold train/approx_kl"):
        system.adaptive_learning_rates({})


@pytest.mark.parametrize(
    ("meta", "own"),
    [
        (META, OWN[:2]),
        (META, {"a": OWN[0]}),
        ({"a": META[0]}, {"b": OWN[0]}),
        ({"a": META[0]}, {"a": OWN[0, :1]}),
    ],
)
def test_gradients_of_two_forms_are_refused(meta: object, own: object) -> None:
    with pytest.raises(PolicyError, match="must have the form of specialist_gradients"):
        GradientCoordinationSystem().coordinate_updates(meta, own)  # type: ignore[call-overload]


def test_specialists_without_any_gradient_were_not_projected() -> None:
    system = GradientCoordinationSystem("upgrad")
    found = system.coordinate_updates(torch.zeros(1, 2), torch.zeros(1, 2))
    assert torch.equal(found, torch.zeros(1, 2))
    assert set(system.diagnostics()[0].values()) == {0.0}


def test_named_specialists_are_diagnosed_together() -> None:
    """Of any shapes, in the order of the mapping."""
    stacked, named = GradientCoordinationSystem("sum"), GradientCoordinationSystem("sum")
    stacked.coordinate_updates(META, OWN)
    named.coordinate_updates(
        {"a": META[0].view(2, 1), "b": META[1], "c": META[2]},
        {"a": OWN[0].view(2, 1), "b": OWN[1], "c": OWN[2]},
    )
    assert named.diagnostics() == stacked.diagnostics()


def test_diagnostics_by_hand() -> None:
    system = GradientCoordinationSystem("sum")
    assert system.diagnostics() == []
    system.coordinate_updates(META, OWN)
    same, opposite, square = system.diagnostics()
    assert list(same) == list(DIAGNOSTICS)
    assert same["coordination/cosine"] == pytest.approx(1.0)
    assert opposite["coordination/cosine"] == pytest.approx(-1.0)
    assert [own["coordination/conflict_rate"] for own in (same, opposite, square)] == [0, 1, 0]
    # (0, 2) - (0, 1) = (0, 1): with the meta-controller, against the specialist.
    assert opposite["coordination/cosine_meta"] == pytest.approx(1.0)
    assert opposite["coordination/cosine_own"] == pytest.approx(-1.0)
    assert square["coordination/cosine_own"] == pytest.approx(0.5**0.5)
    assert same["coordination/projected_frac"] == pytest.approx(0.0)
    system = GradientCoordinationSystem("upgrad")
    system.coordinate_updates(META, OWN)
    assert system.diagnostics()[1]["coordination/projected_frac"] == pytest.approx(1.0)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"gradient_method must be one of upgrad.*'upgrade'"):
        GradientCoordinationSystem("upgrade")
