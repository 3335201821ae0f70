# SPDX-License-Identifier: Apache-2.0
"""Networks of unequal sizes in one matrix: padded, and each of them what it is alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mtquant.agents.crew import Crew, kept, messages
from mtquant.agents.scaling import Scaling
from mtquant.agents.stack import ActorCriticStack, PolicyShape, shape_of, stack_of
from mtquant.core.errors import PolicyError

HIDDEN = (5, 3)


def shape(inputs: int, actions: int, head: bool) -> PolicyShape:
    return PolicyShape(inputs, HIDDEN, actions, actions if head else 0)


shapes = st.booleans().flatmap(
    lambda head: st.lists(
        st.builds(shape, st.integers(1, 9), st.integers(1, 4), st.just(head)),
        min_size=1,
        max_size=4,
    )
)


def stacked(own: list[PolicyShape]) -> ActorCriticStack:
    """Fresh networks whose `log_std` are not all 0."""
    stack = ActorCriticStack.fresh(own, range(len(own)))
    for k, each in enumerate(own):
        stack.log_std[k, : each.actions] = torch.linspace(-1.0, 0.5, each.actions)
    return stack


@given(shapes)
def test_first_weights_are_those_of_a_network_alone(own: list[PolicyShape]) -> None:
    stack = ActorCriticStack.fresh(own, range(len(own)))
    for k, each in enumerate(own):
        alone = ActorCriticStack.fresh(each, [k])
        assert torch.equal(stack.cut(k, stack.parameters[k]), alone.parameters[0])
        found, expected = stack.weights(k), alone.weights(0)
        assert found.keys() == expected.keys()
        for name, tensor in found.items():
            assert torch.equal(tensor, expected[name]), name
        assert shape_of(found) == each
        # What was padded is 0, all of it.
        assert torch.equal(stack.padded(k, alone.parameters[0]), stack.parameters[k])


@given(shapes)
def test_weights_come_back_from_where_they_were_put(own: list[PolicyShape]) -> None:
    stack = stacked(own)
    rows = [stack.weights(k) for k in range(len(own))]
    again = stack_of(rows)
    assert again.own == stack.own == tuple(own)
    assert torch.equal(again.parameters, stack.parameters)
    assert [len(stack.alone(k).parameters[0]) for k in range(len(own))] == [e.size for e in own]


@given(shapes)
def test_each_says_what_it_says_alone(own: list[PolicyShape]) -> None:
    stack = stacked(own)
    random = np.random.default_rng(0)
    views = [random.normal(size=(6, each.inputs)).astype(np.float32) for each in own]
    pairs = [
        (random.normal(size=e.inputs).astype(np.float32), np.full(e.inputs, 2.0, np.float32))
        for e in own
    ]
    crew = Crew(stack, Scaling.of(pairs, stack.parameters))
    acted, spoken, first = crew.act(views), crew.speak(views), 0
    for k, each in enumerate(own):
        alone = Crew.from_weights([kept(crew, k)])
        np.testing.assert_allclose(acted[k], alone.act([views[k]])[0], atol=1e-6)
        assert acted[k].shape == (6, each.actions) and acted[k].flags.c_contiguous
        about = spoken[:, first : first + each.actions]
        np.testing.assert_allclose(about, alone.speak([views[k]]), atol=1e-6)
        first += each.actions
    assert spoken.shape[1] == first == len(stack.entries)


def test_who_acts_asks_no_critic(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = stacked([shape(4, 2, True)])
    crew = Crew(stack, Scaling.of([(np.zeros(4), np.ones(4))], stack.parameters))
    seen = np.ones((1, 1, 4), dtype=np.float32)
    expected = stack.forward(crew.scaled(seen)).mean.numpy().copy()
    monkeypatch.setattr(stack, "critic", None)
    assert np.array_equal(crew.act(seen), expected)
    with pytest.raises(AttributeError, match="forward"):
        crew.speak(seen)


def test_padding_says_nothing() -> None:
    stack = stacked([shape(3, 1, True), shape(7, 3, True)])
    views = torch.randn(2, 4, 7)
    views[0, :, 3:] = 0.0
    said = stack.forward(views)
    assert not said.mean[0, :, 1:].any() and not said.forecast[0, :, 1:].any()
    assert messages(said).flatten(1, 2)[:, stack.entries].shape == (4, 4, 5)
    assert stack.present_actions is not None
    assert stack.present_actions.tolist() == [[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]


def test_widths_of_policies_leave_padding_out() -> None:
    stack = stacked([shape(3, 1, False), shape(3, 2, False)])
    # exp(-1), and the mean of exp(-1) and exp(0.5).
    assert stack.mean_deviation() == pytest.approx([0.367879, 1.0083], rel=1e-4)
    # log_std of -1, and of -1 and 0.5; half the logarithm of 2 pi is 0.918939.
    expected = [-1.0 + 0.918939, -0.5 + 2.0 * 0.918939]
    assert stack.log_scale().tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("others", "what"),
    [
        (PolicyShape(3, (4,), 1, 1), "hidden layers must be the same"),
        (PolicyShape(3, HIDDEN, 1, 0), "message head must be the same"),
    ],
)
def test_networks_that_no_stack_holds_are_refused(others: PolicyShape, what: str) -> None:
    with pytest.raises(PolicyError, match=what):
        ActorCriticStack.fresh([shape(3, 1, True), others], [0, 1])
