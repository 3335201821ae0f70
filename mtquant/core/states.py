# SPDX-License-Identifier: Apache-2.0
"""States as named arrays: what a checkpoint holds and a run goes on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtquant.core.errors import CheckpointError

Arrays = dict[str, NDArray[Any]]


def generator_state(generator: np.random.Generator) -> NDArray[np.uint64]:
    """Where a PCG64 generator stands, uint64 [6]."""
    state = generator.bit_generator.state
    words = [state["state"]["state"], state["state"]["inc"]]
    halves = [half for word in words for half in (word >> 64, word & (2**64 - 1))]
    return np.array([*halves, state["has_uint32"], state["uinteger"]], dtype=np.uint64)


def set_generator(generator: np.random.Generator, state: NDArray[np.uint64]) -> None:
    """Puts a generator where `generator_state` found one."""
    numbers = [int(number) for number in state]
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {
            "state": (numbers[0] << 64) | numbers[1],
            "inc": (numbers[2] << 64) | numbers[3],
        },
        "has_uint32": numbers[4],
        "uinteger": numbers[5],
    }


def below(name: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Arrays under names that begin with ``name/``."""
    return {f"{name}/{own}": array for own, array in arrays.items()}


def part(name: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """The arrays that `below` put under `name`, under their own names."""
    prefix = f"{name}/"
    return {
        own.removeprefix(prefix): array for own, array in arrays.items() if own.startswith(prefix)
    }


def stacked(rows: Sequence[Mapping[str, NDArray[Any]]]) -> Arrays:
    """Arrays of the same names, each a row of its own, as arrays with a row for each.

    Raises:
        CheckpointError: Rows are missing, or of other shapes.
    """
    names = rows[0].keys()
    try:
        return {name: np.concatenate([own[name] for own in rows]) for name in names}
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            "networks of the checkpoint",
            "must be as many as are trained, of one shape",
            str(error),
            "Resume under the configuration that the run began with.",
        ) from error


def fill(held: Mapping[str, NDArray[Any]], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Copies arrays into those of the same names.

    Raises:
        CheckpointError: One is missing, or has another shape or type.
    """
    for name, own in held.items():
        found = arrays.get(name)
        if found is None or found.shape != own.shape or found.dtype != own.dtype:
            seen = None if found is None else (found.shape, str(found.dtype))
            raise CheckpointError(
                name,
                f"must be {own.dtype} of shape {own.shape}",
                seen,
                "Resume under the configuration and the bars that the run began with.",
            )
        own[...] = found
