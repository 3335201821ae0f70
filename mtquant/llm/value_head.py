# SPDX-License-Identifier: Apache-2.0
"""The critic of token-level PPO: two layers on the language model's last hidden states (spec 001).

It reads the states without sending gradients back into the model, so that learning what an answer
is worth never disturbs what the model says.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mtquant.core.errors import CheckpointError

FILE_NAME = "value_head.safetensors"


class ValueHead(nn.Module):
    """Hidden states [..., H] to values [...]; it begins with the value 0 everywhere.

    Args:
        hidden: H.
        seed: Of the first weights.
    """

    def __init__(self, hidden: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.inner = nn.Linear(hidden, hidden)
            self.outer = nn.Linear(hidden, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        inner = torch.tanh(self.inner(states.detach().float()))
        values: torch.Tensor = self.outer(inner)[..., 0]
        return values

    def save(self, folder: Path) -> None:
        """Writes the weights beside a model."""
        save_file(self.state_dict(), str(folder / FILE_NAME))

    def load(self, folder: Path) -> None:
        """Reads them back.

        Raises:
            CheckpointError: They are of another size, or damaged.
        """
        try:
            self.load_state_dict(load_file(str(folder / FILE_NAME)))
        except (OSError, RuntimeError, ValueError) as error:
            remedy = "Train the stage before again."
            found = str(error).splitlines()[0]
            rule = "must fit the model's hidden states"
            raise CheckpointError(str(folder / FILE_NAME), rule, found, remedy) from error
