# SPDX-License-Identifier: Apache-2.0
"""The hierarchy: specialists that speak and a meta-controller that shares out capital, one policy.

On disk it is one file, ``hierarchy.safetensors``: all weights, and in its header the manifest with
the sha256 of the weights. One file is one rename, so a killed run leaves the old one or the new
one. ``hierarchy.json`` beside it is the manifest for people; nothing reads it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors

from mtquant.agents.crew import Crew
from mtquant.agents.stack import Weights
from mtquant.core.errors import CheckpointError, PolicyError
from mtquant.core.protocols import Observation
from mtquant.core.records import write_atomically
from mtquant.envs import allocation
from mtquant.envs.hierarchy import MESSAGE, MESSAGE_NAMES, SCALE, Hierarchy, heard
from mtquant.market.observation import ObservationLayout
from mtquant.market.rules import Rules
from mtquant.rewards.compose import STATE_NAMES

FILE_NAME = "hierarchy.safetensors"
CARD_NAME = "hierarchy.json"
META = "meta_controller"
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class HierarchyManifest:
    """What a hierarchy needs to know of its own training.

    Attributes:
        phase: 2 or 3, the phase that trained it last.
        domains: Specialist -> the symbols it trades, in the order of the portfolio.
        feature_names: Features of an observation.
        window_bars: Bars of features in one observation.
        meta_names: Names of the entries of the meta-controller's observation.
        reward_scale: Return of one bar that counts as 1 in the portfolio's reward.
        forecast_units: Symbol -> log return that counts as 1 in its specialist's forecasts.
        rules_hash: sha256 of the rules it was trained under.
        features_hash: Identity of the feature catalogue and names.
        config_hash: sha256 of the training configuration.
        bars_sha256: Symbol -> `bars_digest` of the bars it was trained and chosen on.
        known_until_ns: End of its validation rows.
        seed: Root of the run's seed tree.
        timesteps: Bars lived through in the phase.
        weights_sha256: Over all weights, by name.
        signals_sha256: `signals_digest` of the predictions it was trained and chosen on.
    """

    phase: int
    domains: Mapping[str, tuple[str, ...]]
    feature_names: tuple[str, ...]
    window_bars: int
    meta_names: tuple[str, ...]
    reward_scale: float
    forecast_units: Mapping[str, float]
    rules_hash: str
    features_hash: str
    config_hash: str
    bars_sha256: Mapping[str, str]
    known_until_ns: int
    seed: int
    timesteps: int
    weights_sha256: str
    signals_sha256: str = ""

    @property
    def symbols(self) -> tuple[str, ...]:
        """All instruments, in the order of the portfolio."""
        return tuple(self.bars_sha256)


class Memory(NamedTuple):
    """What the hierarchy remembers from bar to bar, of E portfolios; as a `Policy` of one.

    Attributes:
        messages: float32 [E, N, MESSAGE], the latest of every instrument.
        scales: float64 [E, N], the exposures a signal of 1 asked for in the last decision.
    """

    messages: Float32
    scales: NDArray[np.float64]


class HierarchyPolicy:
    """A `Policy` for all instruments of its manifest.

    Args:
        weights: Specialist -> weights, and `META` -> the meta-controller's.
        manifest: Its manifest.
        rules: Under which it trades: caps scale what a signal asks for.
        device: Where the networks run.

    Attributes:
        hierarchy: Who sees, says and trades what.
        crew: The specialists.
        meta: The meta-controller.
    """

    name = "hierarchy"

    def __init__(
        self,
        weights: Mapping[str, Weights],
        manifest: HierarchyManifest,
        rules: Rules,
        device: str = "cpu",
    ) -> None:
        self.manifest, self.weights = manifest, weights
        layout = ObservationLayout(
            manifest.symbols, manifest.feature_names, manifest.window_bars, STATE_NAMES
        )
        self.hierarchy = Hierarchy(layout, rules, manifest.domains)
        if self.hierarchy.meta_names() != manifest.meta_names:
            raise CheckpointError(
                "meta_names",
                "must be what the meta-controller was trained to see",
                manifest.meta_names,
                "Train it again: its observation has changed, or the sectors have.",
            )
        self.crew = Crew.from_weights([weights[name] for name in manifest.domains], device)
        self.meta = Crew.from_weights([weights[META]], device)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features of its observation."""
        return self.manifest.feature_names

    @property
    def window_bars(self) -> int:
        """Bars of features in one observation."""
        return self.manifest.window_bars

    def view_names(self) -> list[tuple[str, ...]]:
        """Names of the entries of every specialist's view."""
        layout = self.hierarchy.layout
        shape = layout.feature_names, layout.window_bars, layout.reward_state_names
        return [ObservationLayout(own, *shape).names() for own in self.hierarchy.domains.values()]

    def initial_state(self) -> Memory:
        """Nothing said, nothing asked for."""
        n = len(self.manifest.symbols)
        return Memory(np.zeros((1, n, MESSAGE), dtype=np.float32), np.zeros((1, n)))

    def act(self, observation: Observation, state: Memory) -> tuple[NDArray[np.float64], Memory]:
        """Target exposures, float64 [N]: the same steps as `MetaControllerBatch`, for one account.

        Raises:
            PolicyError: Other instruments, or an answer that is not finite.
        """
        if observation.symbols != self.manifest.symbols:
            raise PolicyError(
                "observation",
                "must hold the hierarchy's instruments in their order",
                observation.symbols,
                f"It was trained on {self.manifest.symbols}.",
            )
        seen = observation.values[None]
        messages = self.listen(seen, state)
        scales = self.scales(seen, messages)
        targets = allocation.exposures(scales, messages[:, :, 0])
        return targets[0].astype(np.float64), Memory(messages, scales)

    def told(self, state: Memory) -> dict[str, NDArray[np.floating[Any]]]:
        """The messages in the memory of one portfolio, and the exposure (units of equity) that the
        meta-controller gave a signal of 1: name -> [N].
        """
        messages = dict(zip(MESSAGE_NAMES, state.messages[0].T, strict=True))
        return {**messages, SCALE: state.scales[0]}

    def listen(self, seen: Float32, state: Memory) -> Float32:
        """The latest message about every instrument of E portfolios, float32 [E, N, MESSAGE].

        Args:
            seen: Their observations, float32 [E, size].
            state: What was said and asked for before, of E portfolios.
        """
        hierarchy = self.hierarchy
        said = self.crew.speak(hierarchy.views(seen, state.scales))
        said = heard(said[:, hierarchy.spoken], state.messages.shape)
        return np.where(hierarchy.tradable(seen)[:, :, None], said, state.messages)

    def scales(
        self, seen: Float32, messages: Float32, followed: Float32 | None = None
    ) -> NDArray[np.float64]:
        """What the meta-controller makes of observations and messages: the exposure that a signal
        of 1 asks for, float64 [E, N].

        Args:
            seen: Of E portfolios, float32 [E, size].
            messages: What it hears, float32 [E, N, MESSAGE].
            followed: The messages whose signals are traded; those it hears when None.

        Raises:
            PolicyError: Its answer is not finite.
        """
        hierarchy = self.hierarchy
        action = self.meta.act([hierarchy.observe(seen, messages)])[0]
        if not np.isfinite(action).all():
            raise PolicyError(
                "action of the meta-controller",
                "must be finite",
                action.tolist(),
                "The weights or the observation hold NaN: load an earlier checkpoint.",
            )
        return hierarchy.scales(action, messages if followed is None else followed)


def save_hierarchy(
    folder: Path, weights: Mapping[str, Weights], manifest: Mapping[str, Any]
) -> HierarchyManifest:
    """Writes a hierarchy; one rename commits it.

    Args:
        folder: Made if need be.
        weights: Specialist -> weights, and `META` -> the meta-controller's.
        manifest: Fields of `HierarchyManifest` but `weights_sha256`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    flat = {
        f"{owner}/{name}": tensor.contiguous()
        for owner, own in sorted(weights.items())
        for name, tensor in sorted(own.items())
    }
    full = HierarchyManifest(**manifest, weights_sha256=_digest(flat))
    text = json.dumps(asdict(full), indent=2)
    content = save_tensors(flat, {"manifest": text})
    write_atomically(folder / FILE_NAME, lambda path: path.write_bytes(content))
    write_atomically(folder / CARD_NAME, lambda path: path.write_text(text + "\n"))
    return full


def load_hierarchy(folder: Path, rules: Rules, device: str = "cpu") -> HierarchyPolicy:
    """Reads a hierarchy written by `save_hierarchy`.

    Raises:
        CheckpointError: The folder holds none, or its weights are not those of its manifest.
    """
    manifest, weights = read_hierarchy(folder)
    return HierarchyPolicy(weights, manifest, rules, device)


def read_hierarchy(folder: Path) -> tuple[HierarchyManifest, dict[str, Weights]]:
    """Manifest and weights by owner.

    Raises:
        CheckpointError: As `load_hierarchy`.
    """
    try:
        with safe_open(folder / FILE_NAME, framework="pt") as file:
            flat = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            stored = json.loads((file.metadata() or {})["manifest"])
        manifest = _manifest(stored)
    except (OSError, SafetensorError, ValueError, TypeError, KeyError) as error:
        remedy = "Train phase 2 first: scripts/run_phase2_training.py."
        raise CheckpointError(str(folder), "must hold a hierarchy", str(error), remedy) from error
    digest = _digest(flat)
    if digest != manifest.weights_sha256:
        remedy = "The file was damaged or exchanged: train again or restore a backup."
        field = str(folder / FILE_NAME)
        raise CheckpointError(field, "must match the manifest's sha256", digest, remedy)
    weights: dict[str, Weights] = {}
    for name, tensor in flat.items():
        owner, _, own = name.partition("/")
        weights.setdefault(owner, {})[own] = tensor
    return manifest, weights


def require_domains(
    manifest: HierarchyManifest, domains: Mapping[str, tuple[str, ...]], folder: Path
) -> None:
    """Refuses a hierarchy of other specialists than those of a configuration.

    Raises:
        CheckpointError: Which it has.
    """
    # In their order: the meta-controller has a logit for each.
    if list(manifest.domains.items()) != list(domains.items()):
        raise CheckpointError(
            f"specialists of {folder}",
            f"must be those of the configuration: {_listed(domains)}",
            _listed(manifest.domains),
            "Use the training.specialists of the training, or train all phases again.",
        )


def _listed(domains: Mapping[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{name} [{', '.join(own)}]" for name, own in domains.items())


def _manifest(stored: dict[str, Any]) -> HierarchyManifest:
    unknown = set(stored) - {field.name for field in fields(HierarchyManifest)}
    if unknown:
        raise ValueError(f"unknown fields {sorted(unknown)}")
    stored["domains"] = {name: tuple(own) for name, own in stored["domains"].items()}
    for name in ("feature_names", "meta_names"):
        stored[name] = tuple(stored[name])
    return HierarchyManifest(**stored)


def _digest(weights: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()
