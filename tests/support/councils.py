# SPDX-License-Identifier: Apache-2.0
"""A paper account that untrained hierarchies trade, which say something in every decision."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from mtquant.agents.hierarchy import HierarchyPolicy, Memory
from mtquant.features.timeframes import TimeframePipeline
from mtquant.paper.reading import reader, table
from mtquant.paper.seats import Model
from tests.support.hierarchies import random_hierarchy
from tests.support.markets import FEATURES
from tests.support.paper import REWARD, Stage


@dataclass
class Council(Stage):
    """A stage on which hierarchies trade; keeps what each of them remembered, act by act."""

    memories: dict[str, list[Memory]] = field(default_factory=dict)
    told: Callable[[Any], Any] | None = None

    def model(self, path: str) -> Model:
        market: Any = SimpleNamespace(panel=self.panel, rules=self.rules)
        policy = random_hierarchy(market, seed=sum(path.encode()), size=30.0).policy
        assert isinstance(policy, HierarchyPolicy)
        act, kept = policy.act, self.memories.setdefault(path, [])

        def remembered(observation: Any, state: Memory) -> tuple[Any, Memory]:
            targets, memory = act(observation, state)
            kept.append(memory)
            return targets, memory

        policy.act = remembered  # type: ignore[method-assign]
        if self.told is not None:
            policy.told = self.told  # type: ignore[method-assign]
        return Model(path, f"digest of {path}", policy, TimeframePipeline(FEATURES), REWARD)

    def figures(self, path: str) -> np.ndarray:
        """What stands in the memories, float32 [B, F, N]."""
        rows = [np.vstack([own.messages[0].T, own.scales]) for own in self.memories[path]]
        return np.array(rows, dtype=np.float32)

    def details(self) -> list[dict[str, Any]]:
        with reader(self.path) as connection:
            return [json.loads(text) for text in table(connection, "decisions")["details"]]
