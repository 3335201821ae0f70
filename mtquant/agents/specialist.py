# SPDX-License-Identifier: Apache-2.0
"""A specialist: one trained policy for one instrument or several, and how it is kept on disk.

A specialist's folder holds

    specialist.safetensors   all weights, the scaler among them
    specialist.json          manifest: what it was trained on, and the sha256 of the weights
    specialist.zip           the same model for `stable_baselines3.PPO.load`, or for the algorithm
                             that the manifest names as its policy (mtquant never loads it: a zip
                             runs pickle, so load only your own)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from mtquant.agents.actors import ACTOR_CRITIC, actor_of
from mtquant.core.errors import CheckpointError, PolicyError
from mtquant.core.protocols import Observation
from mtquant.core.records import write_atomically
from mtquant.data.bars import Bars
from mtquant.market.observation import INSTRUMENT_EXTRAS

WEIGHTS_NAME = "specialist.safetensors"
MANIFEST_NAME = "specialist.json"
ZIP_NAME = "specialist.zip"


@dataclass(frozen=True)
class SpecialistManifest:
    """What a specialist needs to know about its own training.

    Attributes:
        name: What it is called: its instrument, or its domain.
        symbols: Instruments it trades, in the order of its observation and of its actions.
        feature_names: Features of its observation, oldest bar first, `window_bars` times.
        window_bars: Bars of features in one observation.
        observation_names: Name of every entry of its observation; of a single instrument without
            the symbol.
        unit: Exposure that an action of 1 asks for.
        reward_scale: Return of one bar that counts as 1 in reward and reward state.
        rules_hash: sha256 of the rules it was trained under.
        features_hash: Identity of the feature catalogue and names.
        config_hash: sha256 of the training configuration.
        bars_sha256: Symbol -> `bars_digest` of the bars it was trained and chosen on.
        known_until_ns: End of its validation rows: what comes later it has never met.
        seed: Root of the run's seed tree.
        timesteps: Bars lived through in training.
        weights_sha256: sha256 of `specialist.safetensors`.
        policy: Which network it is: ``"actor_critic"``, or a name of `library_policies.POLICIES`.
        policy_arguments: What else that network is built from; plain numbers.
        signals_sha256: `signals_digest` of the predictions it was trained and chosen on.
    """

    name: str
    symbols: tuple[str, ...]
    feature_names: tuple[str, ...]
    window_bars: int
    observation_names: tuple[str, ...]
    unit: float
    reward_scale: float
    rules_hash: str
    features_hash: str
    config_hash: str
    bars_sha256: Mapping[str, str]
    known_until_ns: int
    seed: int
    timesteps: int
    weights_sha256: str
    policy: str = ACTOR_CRITIC
    policy_arguments: Mapping[str, Any] = field(default_factory=dict)
    signals_sha256: str = ""

    @property
    def entries(self) -> tuple[str, ...]:
        """Name of every entry of its observation as in a portfolio's, with the symbol."""
        block = self.window_bars * len(self.feature_names) + INSTRUMENT_EXTRAS
        names = self.observation_names
        if len(self.symbols) > 1:
            return names
        return (*(f"{self.symbols[0]}.{name}" for name in names[:block]), *names[block:])


def bars_digest(bars: Bars, until_ns: int) -> str:
    """sha256 over stamps and prices of the bars that closed before `until_ns`.

    Bars that were extended since have the same digest; other bars, revised ones or bars of another
    length do not.
    """
    rows = bars.stamps < until_ns
    digest = hashlib.sha256(str(bars.bar_seconds).encode())
    for array in (bars.stamps, bars.open, bars.high, bars.low, bars.close):
        digest.update(np.ascontiguousarray(array[rows]).tobytes())
    return digest.hexdigest()


class Specialist:
    """A `Policy` for its instruments.

    Args:
        weights: State of the trained policy.
        manifest: Its manifest.

    Attributes:
        actor: The network itself, which decides for many accounts at a time.

    Raises:
        ValueError, TypeError, LookupError, RuntimeError: They do not fit each other.
    """

    def __init__(self, weights: dict[str, torch.Tensor], manifest: SpecialistManifest) -> None:
        self.manifest = manifest
        self.weights = weights
        self.name = f"specialist {manifest.name}"
        self.actor = actor_of(
            manifest.policy,
            weights,
            len(manifest.observation_names),
            len(manifest.symbols),
            manifest.policy_arguments,
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Features it needs."""
        return self.manifest.feature_names

    @property
    def window_bars(self) -> int:
        """Bars of features in one observation."""
        return self.manifest.window_bars

    def initial_state(self) -> Any:
        """What it remembers before the first bar; None for a feed-forward policy."""
        return self.actor.initial_state(1)

    def act(self, observation: Observation, state: Any) -> tuple[NDArray[np.float64], Any]:
        """Target exposures of its instruments, float64 [N], and the next state."""
        if observation.symbols != self.manifest.symbols:
            raise PolicyError(
                "observation",
                f"must be of {', '.join(self.manifest.symbols)} alone",
                observation.symbols,
                "Put several specialists into one SpecialistEnsemble.",
            )
        action, state = self.decide(observation.values, state)
        return action * self.manifest.unit, state

    def action(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """`decide` for a policy without memory.

        Raises:
            PolicyError: It has a memory; and as `decide`.
        """
        state = self.initial_state()
        if state is not None:
            raise PolicyError(
                f"action of {self.manifest.name}",
                "must be asked for with what the policy remembers",
                self.manifest.policy,
                "Call decide(values, state), beginning with initial_state().",
            )
        return self.decide(values, state)[0]

    def decide(self, values: NDArray[np.float32], state: Any) -> tuple[NDArray[np.float64], Any]:
        """Actions in [-1, 1], float64 [N], for one raw observation float32 [size], and the next
        state.

        Raises:
            PolicyError: The observation has another size, or the action is not finite.
        """
        self.check_size(values)
        actions, state = self.actor.decide(values[None], state)
        return self.checked(actions[0]), state

    def check_size(self, values: NDArray[np.float32]) -> None:
        """Refuses an observation of another size.

        Raises:
            PolicyError: It is one.
        """
        size = len(self.manifest.observation_names)
        if values.shape != (size,):
            raise PolicyError(
                f"observation of {self.manifest.name}",
                f"must hold {size} entries",
                values.shape,
                "Use the features, window and rules that the specialist was trained with.",
            )

    def checked(self, answer: NDArray[np.float32]) -> NDArray[np.float64]:
        """What its network answered, float32 [N], as actions float64 [N].

        Raises:
            PolicyError: It is not finite.
        """
        action = answer.astype(np.float64)
        if not np.isfinite(action).all():
            raise PolicyError(
                f"action of {self.manifest.name}",
                "must be finite",
                action.tolist(),
                "The weights or the observation hold NaN: load an earlier checkpoint.",
            )
        return action


def save_specialist(
    folder: Path, weights: dict[str, torch.Tensor], manifest: dict[str, Any]
) -> SpecialistManifest:
    """Writes weights and manifest; the manifest comes last and commits both.

    Args:
        folder: Made if need be.
        weights: State of the trained policy.
        manifest: Fields of `SpecialistManifest` but `weights_sha256`; those with a default may be
            left out.

    Returns:
        The manifest as written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = save_tensors({name: tensor.contiguous() for name, tensor in sorted(weights.items())})
    full = SpecialistManifest(**manifest, weights_sha256=hashlib.sha256(content).hexdigest())
    text = json.dumps(asdict(full), indent=2) + "\n"
    write_atomically(folder / WEIGHTS_NAME, lambda path: path.write_bytes(content))
    write_atomically(folder / MANIFEST_NAME, lambda path: path.write_text(text))
    return full


def load_specialist(folder: Path) -> Specialist:
    """Reads a specialist written by `save_specialist`.

    Raises:
        CheckpointError: The folder holds none, or the weights are not those of the manifest.
    """
    try:
        manifest = _manifest(json.loads((folder / MANIFEST_NAME).read_text()))
        content = (folder / WEIGHTS_NAME).read_bytes()
    except (OSError, ValueError, TypeError, KeyError) as error:
        remedy = "Train phase 1 first: scripts/run_phase1_training.py."
        raise CheckpointError(str(folder), "must hold a specialist", str(error), remedy) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != manifest.weights_sha256:
        remedy = "The file was damaged or exchanged: train again or restore a backup."
        place = str(folder / WEIGHTS_NAME)
        raise CheckpointError(place, "must match the manifest's sha256", digest, remedy)
    try:
        return Specialist(load_tensors(content), manifest)
    except (ValueError, TypeError, LookupError, RuntimeError) as error:
        remedy = "Weights and manifest are of different networks: train again."
        place = str(folder / WEIGHTS_NAME)
        rule = f"must be the weights of a {manifest.policy} policy"
        raise CheckpointError(place, rule, str(error), remedy) from error


def _manifest(stored: dict[str, Any]) -> SpecialistManifest:
    """Of what a file says; those that were written when a specialist had one instrument name it
    ``symbol``.
    """
    if "symbol" in stored:
        symbol = stored.pop("symbol")
        bars = {symbol: stored["bars_sha256"]}
        stored |= {"name": symbol, "symbols": [symbol], "bars_sha256": bars}
    for name in ("symbols", "feature_names", "observation_names"):
        stored[name] = tuple(stored[name])
    return SpecialistManifest(**stored)


def kept_domains(folder: Path) -> dict[str, tuple[str, ...]]:
    """Specialist, by the name of its folder -> the symbols it trades; of all in a folder of phase 1
    that can be read.
    """
    found = {}
    for path in sorted(folder.glob(f"*/{MANIFEST_NAME}")):
        try:
            manifest = _manifest(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError, KeyError):
            continue
        found[path.parent.name] = manifest.symbols
    return found


def load_specialists(folder: Path, domains: Mapping[str, tuple[str, ...]]) -> dict[str, Specialist]:
    """The specialists of a folder of phase 1, in the order of `domains`.

    Args:
        folder: Holds a folder for each.
        domains: Specialist -> the symbols it has to trade, in the order of its observation.

    Raises:
        CheckpointError: One is missing or damaged, or trades other instruments.
    """
    kept = kept_domains(folder)
    known = {symbol for own in kept.values() for symbol in own}
    for name, own in domains.items():
        # Where all instruments are there, what differs is who trades them.
        if set(kept.get(name, own)) != set(own) or (name not in kept and known >= set(own)):
            raise CheckpointError(
                f"specialists of {folder}",
                f"must be those of the configuration, of which {name} trades {', '.join(own)}",
                {name: list(each) for name, each in kept.items()},
                "Use the training.specialists of the training, or train phase 1 again.",
            )
    return {name: load_specialist(folder / name) for name in domains}
