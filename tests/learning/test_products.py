# SPDX-License-Identifier: Apache-2.0
"""Products are torch's, wherever they are worked out."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from mtquant.learning.products import Held, multiply

SIZES = st.integers(1, 9)


def factors(k: int, m: int, n: int, p: int, turned: tuple[bool, bool]) -> tuple[torch.Tensor, ...]:
    """[K, m, n] and [K, n, p] float64, laid out as they are or transposed; parts of larger rows, as
    weights and observations are.
    """
    random = torch.Generator().manual_seed(k + 10 * m + 100 * n + 1_000 * p)
    found = []
    for (rows, columns), turn in zip(((m, n), (n, p)), turned, strict=True):
        size = (columns, rows) if turn else (rows, columns)
        held = torch.randn(k, size[0], size[1] + 2, generator=random, dtype=torch.float64)
        own = held[:, :, : size[1]]
        found.append(own.transpose(1, 2) if turn else own)
    return tuple(found)


@given(SIZES, SIZES, SIZES, SIZES, st.tuples(st.booleans(), st.booleans()))
def test_products_are_torchs(k: int, m: int, n: int, p: int, turned: tuple[bool, bool]) -> None:
    one, other = factors(k, m, n, p, turned)
    rows = torch.full((k, m * p + 3), torch.nan, dtype=torch.float64)
    out = Held.of(rows[:, : m * p].unflatten(1, (m, p)))
    multiply(Held.of(one), Held.of(other), out)
    torch.testing.assert_close(out.tensor, torch.bmm(one, other), rtol=1e-13, atol=1e-13)
    assert rows[:, m * p :].isnan().all()


def test_a_gpus_products_are_the_processors() -> None:
    """The way that a GPU takes, taken on a processor."""
    one, other = factors(3, 5, 4, 6, (True, False))
    out = torch.empty(3, 5, 6, dtype=torch.float64)
    multiply(*(Held(own, None) for own in (one, other, out)))
    assert torch.equal(out, torch.bmm(one, other))


def test_factors_are_rounded_where_they_are_told_to_be() -> None:
    one, other = (own.float() for own in factors(2, 5, 4, 6, (False, False)))
    out = Held.of(torch.empty(2, 5, 6))
    multiply(Held.of(one), Held.of(other), out, torch.bfloat16)
    exact = torch.bmm(one, other)
    assert out.tensor.dtype == torch.float32
    assert 0.0 < float((out.tensor - exact).norm()) < 0.02 * float(exact.norm())


def test_a_view_and_its_tensor_are_the_same_numbers() -> None:
    held = Held.of(torch.zeros(2, 3, 4))
    turned = held.turned()
    held.tensor[1, 2, 3] = 7.0
    assert held.array is not None and turned.array is not None
    assert held.array[1, 2, 3] == turned.array[1, 3, 2] == 7.0
    assert turned.tensor.shape == turned.array.shape == (2, 4, 3)
