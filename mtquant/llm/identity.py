# SPDX-License-Identifier: Apache-2.0
"""What a stage was trained on and with: compared before a run goes on, so that no stage of another
configuration, other data or another base model is taken for one's own.

    begun = stage_identity(config, "stage1", "ppo", examples, template, source)
    require_same(folder / BEGUN, begun, noted)

Where files lie is no part of it, but what they hold is: prompts, references and every column that a
reward may read enter as one hash, weights as another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtquant.core.errors import CheckpointError
from mtquant.llm.config import LlmConfig
from mtquant.llm.models import ADAPTER_FILE, base_of

if TYPE_CHECKING:
    from mtquant.llm.tasks.task import Examples

# Their contents are compared by hash, and a folder may be moved.
PLACES = (
    "task.instruments",
    "task.odds.games",
    "task.stocks.companies",
    "task.stocks.prices",
    "task.stocks.texts",
)
# They cut the same work into other pieces: smaller ones are the way out of a full GPU.
PIECES = (
    "model.gradient_checkpointing",
    "sft.batch_size",
    "sft.gradient_accumulation_steps",
    *(f"{name}.micro_batch_size" for name in ("ppo", "grpo", "dpo")),
)
ABSENT = "nothing"
CHUNK = 1 << 20


def stage_identity(
    config: LlmConfig, name: str, algorithm: str, examples: Examples, source: str
) -> dict[str, Any]:
    """Everything that determines what a stage learns, as one level of keys.

    Args:
        config: Of the run.
        name: Of the stage.
        algorithm: Who trains: ``"sft"``, ``"ppo"``, ``"grpo"`` or ``"dpo"``.
        examples: What it is trained on.
        source: Folder or Hub id of the model that it begins with.
    """
    sections: dict[str, Any] = {}
    if name != "sft":  # answers are drawn
        sections["stages"] = {"algorithm": algorithm}
        sections["generation"] = config.generation.model_dump(mode="json")
    if name == "stage2":
        own = config.stages
        sections["stages"] |= {"stage2_updates": own.stage2_updates, "stage2_rate": own.stage2_rate}
    for section in ("model", "lora", "task", algorithm):
        sections[section] = getattr(config, section).model_dump(mode="json")
    sections["run"] = {"seed": config.run.seed}
    values = {k: v for k, v in flat(sections).items() if k not in PLACES and k not in PIECES}
    if name == "sft":
        values["sft examples per update"] = config.sft.examples_per_update
    return values | {
        "template": examples.template_hash,
        "examples": examples_digest(examples),
        "base weights": weights_digest(source),
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level of keys, joined by points."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def require_same(place: Path, asked: Mapping[str, Any], noted: Mapping[str, Any]) -> None:
    """Refuses to go on with what was begun under other values.

    Args:
        place: What is gone on with, for the message.
        asked: Values by key now.
        noted: Values by key then; keys that only one of both has differ too.

    Raises:
        CheckpointError: A key differs; it is named, with both values.
    """
    keys = [key for key in {**asked, **noted} if asked.get(key, ABSENT) != noted.get(key, ABSENT)]
    if not keys:
        return
    key = keys[0]
    more = f" ({len(keys) - 1} more after this one: {', '.join(keys[1:4])})" if keys[1:] else ""
    then = noted.get(key, ABSENT)
    remedy = f"Go on with what the run began with, or train the stage again without --resume.{more}"
    rule = f"must be {then!r} to go on with {place}, which began with that"
    raise CheckpointError(key, rule, asked.get(key, ABSENT), remedy)


def examples_digest(examples: Examples) -> str:
    """sha256 of prompts, references and all columns, in the order of their names."""
    digest = hashlib.sha256()
    for texts in (examples.prompts, examples.answers):
        digest.update("\x1f".join(texts).encode())
        digest.update(b"\x1e")
    for name in sorted(examples.columns):
        column = examples.columns[name]
        digest.update(name.encode())
        text = column.dtype.hasobject
        digest.update("\x1f".join(map(str, column)).encode() if text else column.tobytes())
    return digest.hexdigest()


def weights_digest(source: str) -> str:
    """sha256 of the weights of a folder, its adapters' base among them; of a Hub model its commit,
    which is a hash of its content.
    """
    folder = Path(source)
    if not folder.is_dir():
        return _commit(source)
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    if (folder / ADAPTER_FILE).is_file():
        digest.update(weights_digest(base_of(folder)).encode())
    return digest.hexdigest()


def _commit(source: str) -> str:
    """The commit of a Hub model at hand: the name of the folder that its cache keeps it in."""
    from transformers.utils import cached_file

    return Path(str(cached_file(source, "config.json"))).parent.name
