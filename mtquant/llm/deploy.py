# SPDX-License-Identifier: Apache-2.0
"""The end of the pipeline: a folder with the merged, quantised model and all it takes to serve it.

    deploy(run, source=run.folder / "stage2")
    answers = predict(Path("models/llm/demo/deploy"), "test", device)

The folder opens with transformers alone. ``serving.json`` says which task, template and settings it
was trained with; a model is served with its own template, or refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtquant.core.checked import validated
from mtquant.core.errors import CheckpointError
from mtquant.core.records import write_atomically
from mtquant.core.runs import package_versions, plain
from mtquant.llm.config import NANO, LlmConfig
from mtquant.llm.generation import sample
from mtquant.llm.models import load_model, merged_model, save_model
from mtquant.llm.signals import signal_frame, write_signals
from mtquant.llm.stages import LlmRun
from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.task import Answer, Examples, SplitName, Task
from mtquant.llm.tokenizer import load_tokenizer

SERVING = "serving.json"
COMPARED = 128  # prompts on which the quantised model's answers are held against the merged one's


def deploy(run: LlmRun, source: Path, record: Mapping[str, Any]) -> dict[str, float]:
    """Merges, quantises, documents.

    Args:
        run: Whose task and configuration.
        source: Folder of the trained model.
        record: Figures for the model card: the gate's verdict, the test's metrics.

    Returns:
        Share of greedy answers that are the same, and predict the same, after quantising.
    """
    folder, config = run.folder / "deploy", run.config
    aside = run.folder / ".deploying"
    shutil.rmtree(aside, ignore_errors=True)
    merged = merged_model(source, config.model, run.device)
    tokenizer = load_tokenizer(source)
    save_model(merged, tokenizer, aside)
    examples = run.examples("validation")
    examples = examples.take(np.arange(min(COMPARED, len(examples))))
    before = _greedy(run, merged, tokenizer, examples)
    agreement = {"same_answer": 1.0, "same_prediction": 1.0}
    kind = config.deploy.quantization
    if kind != "none":
        settings = config.model.model_copy(update={"quantization": kind})
        quantised = load_model(aside, settings, run.device)
        shutil.rmtree(aside)
        save_model(quantised, tokenizer, aside)
        served = load_model(aside, _as_saved(config), run.device)
        agreement = _agreement(run, examples, before, _greedy(run, served, tokenizer, examples))
    serving = {
        "task": config.task.model_dump(mode="json"),
        "template": run.task.template_hash,
        "generation": config.generation.model_dump(mode="json"),
        "quantization": kind,
        "agreement": agreement,
        "record": plain(record),
        "versions": package_versions(),
    }
    (aside / SERVING).write_text(json.dumps(serving, indent=2), encoding="utf-8")
    (aside / "README.md").write_text(_model_card(run, serving), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    run.note("deploy", {"quantization": kind, **agreement})
    return agreement


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of a served model.

    Attributes:
        task: Whose.
        examples: What was asked.
        completions: The answers as written.
        answers: As read; None where one does not parse.
    """

    task: Task
    examples: Examples
    completions: list[str]
    answers: list[Answer | None]

    def table(self) -> Any:
        """A pandas frame, a row per decision: known_at, event, prediction, confidence, a chance per
        class (NaN where the answer does not parse) and the answer itself.
        """
        import pandas as pd

        classes = self.task.classes
        nothing = np.full(len(classes), np.nan)
        chances = np.stack([nothing if a is None else a.chances for a in self.answers])
        return pd.DataFrame(
            {
                "known_at": pd.to_datetime(self.examples.stamps, unit="ns", utc=True),
                "event": self.examples.columns["event"],
                "prediction": [None if a is None else a.says for a in self.answers],
                "confidence": [np.nan if a is None else a.confidence for a in self.answers],
                **{f"chance_{name}": chances[:, k] for k, name in enumerate(classes)},
                "answer": self.completions,
            }
        )


def served_task(folder: Path) -> tuple[LlmConfig, Any]:
    """The configuration and the task that a deployed model was trained with.

    Raises:
        CheckpointError: It is no deployed model, or its template is not this version's.
    """
    try:
        serving = json.loads((folder / SERVING).read_text(encoding="utf-8"))
        values = {"task": serving["task"], "generation": serving["generation"]}
        template = serving["template"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        remedy = "Name the folder `deploy` of a finished pipeline."
        rule = "must be a deployed model"
        raise CheckpointError(str(folder / SERVING), rule, str(error), remedy) from error
    config = validated(LlmConfig, values, error_class=CheckpointError)
    task = make_task(config.task)
    if task.template_hash != template:
        remedy = "Train it again with this version of mtquant, or serve it with the one it is from."
        rule = "must have been trained on this version's template"
        raise CheckpointError(str(folder), rule, template, remedy)
    return config, task


def predict(
    folder: Path, split: SplitName, device: torch.device, *, temperature: float, seed: int
) -> Predictions:
    """Answers of a deployed model to a part of its task.

    Args:
        folder: The deployed model.
        split: Which part.
        device: Where to compute.
        temperature: 0 takes the likeliest answer.
        seed: Of the draws.
    """
    config, task = served_task(folder)
    examples = task.examples(split, balanced=False)
    model = load_model(folder, _as_saved(config), device)
    texts = sample(
        model,
        load_tokenizer(folder),
        examples.prompts,
        temperature=temperature,
        seed=seed,
        batch=config.generation.batch_size,
        max_new_tokens=config.generation.max_new_tokens,
    )
    answers = [task.parse(p, c) for p, c in zip(examples.prompts, texts)]
    return Predictions(task, examples, texts, answers)


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Writes predictions as parquet, in one step: of stocks the signal table (`signals.py`), which
    specialists and policies read; else `Predictions.table`.

    Raises:
        DataError: No prediction of a stock can be read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    asked = predictions.examples
    if "symbol" in asked.columns:
        symbols = [str(symbol) for symbol in asked.columns["symbol"]]
        stamps, texts = asked.stamps.tolist(), predictions.completions
        write_signals(signal_frame(predictions.task, symbols, stamps, asked.prompts, texts), path)
        return
    table = predictions.table()
    write_atomically(path, lambda file: table.to_parquet(file, index=False))


def _as_saved(config: LlmConfig) -> Any:
    """Model settings that leave the quantisation to what the folder itself says."""
    return config.model.model_copy(update={"quantization": "none"})


def _greedy(run: LlmRun, model: Any, tokenizer: Any, examples: Examples) -> list[str]:
    settings = run.config.generation
    return sample(
        model,
        tokenizer,
        examples.prompts,
        temperature=0.0,
        seed=0,
        batch=settings.batch_size,
        max_new_tokens=settings.max_new_tokens,
    )


def _agreement(
    run: LlmRun, examples: Examples, before: list[str], after: list[str]
) -> dict[str, float]:
    def says(texts: list[str]) -> list[str | None]:
        answers = [run.task.parse(p, c) for p, c in zip(examples.prompts, texts)]
        return [None if answer is None else answer.says for answer in answers]

    same = np.mean([a == b for a, b in zip(before, after)])
    alike = np.mean([a == b for a, b in zip(says(before), says(after))])
    return {"same_answer": float(same), "same_prediction": float(alike)}


def _model_card(run: LlmRun, serving: Mapping[str, Any]) -> str:
    config, agreement = run.config, serving["agreement"]
    figures = "\n".join(
        f"| {name} | {value:.4f} |"
        for name, value in sorted(serving["record"].get("test", {}).items())
        if isinstance(value, float)
    )
    model = config.model
    made_of = f"{model.source} {model.size}" if model.source == NANO else model.source
    return f"""# {run.folder.name}: {run.task.name}

Made by mtquant from {made_of}: supervised fine-tuning on references, then
{config.stages.algorithm.upper()} on the balanced and on the natural set.

* Serve it with `mtquant llm predict --model {run.folder.name}/deploy`, or load it with
  `AutoModelForCausalLM` and `AutoTokenizer`; `serving.json` holds task, template and settings.
* Task: {run.task.name}, source {config.task.source}, template {serving["template"][:12]}.
* Quantisation: {serving["quantization"]}. Of {COMPARED} validation prompts,
  {agreement["same_prediction"]:.1%} predict the same as before it and
  {agreement["same_answer"]:.1%} are answered word for word the same.
* Gate between the stages: {_gate_text(serving["record"].get("gate"))}.

| test set, sampled answers | |
|---|---|
{figures}

It knows nothing but prompts of this form. Figures of a synthetic task say what the method can
learn, and nothing about markets.
"""


def _gate_text(gate: Mapping[str, Any] | None) -> str:
    if not gate:
        return "not run"
    missing = [condition["name"] for condition in gate["conditions"] if condition["met"] is False]
    return f"missing: {', '.join(missing)}" if missing else "passed"
