# SPDX-License-Identifier: Apache-2.0
"""The end of the pipeline: a folder with the merged, quantised model and all it takes to serve it.

    deploy(run, run.folder / "stage2", verdict.record(), run.folder / "report")
    answers = predict(Path("models/llm/demo/deploy"), "test", device)

The folder opens with transformers alone. ``serving.json`` says which task, template and settings it
was trained with; a model is served with its own template, or refused. What is evaluated is the
model in this folder, drawn from as ``serving.json`` says, and `predict` does the same: on the same
machine its answers to the test prompts are those of the report.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mtquant.core.checked import validated
from mtquant.core.errors import CheckpointError, DataError
from mtquant.core.records import write_atomically
from mtquant.core.runs import package_versions, plain
from mtquant.data.bars import NANOSECONDS
from mtquant.llm.config import NANO, LlmConfig
from mtquant.llm.generation import sample
from mtquant.llm.judging import Report, test_figures, write_report
from mtquant.llm.models import load_model, merged_model, save_model
from mtquant.llm.signals import signal_frame, write_signals
from mtquant.llm.stages import LlmRun
from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.task import Answer, Examples, SplitName, Task
from mtquant.llm.tokenizer import load_tokenizer

SERVING = "serving.json"
COMPARED = 128  # prompts on which the folder's answers are held against the trained model's


@dataclass(frozen=True)
class Deployed:
    """What a deployment came to.

    Attributes:
        agreement: Share of greedy answers that are the same, and predict the same, as those of the
            model as it was trained.
        figures: Of the deployed model's answers to the test prompts (`judging.test_figures`).
        report: The page that holds them beside rivals, and what it comes to.
    """

    agreement: dict[str, float]
    figures: dict[str, float]
    report: Report


def deploy(run: LlmRun, source: Path, gate: Mapping[str, Any], report: Path) -> Deployed:
    """Merges, quantises, evaluates what came of it, documents.

    Args:
        run: Whose task and configuration.
        source: Folder of the trained model.
        gate: The gate's verdict, for the model card.
        report: Receives the report on the deployed model.
    """
    folder, aside = run.folder / "deploy", run.folder / ".deploying"
    shutil.rmtree(aside, ignore_errors=True)
    tokenizer = load_tokenizer(source)
    _save_served(run, source, aside, tokenizer)
    model = _served_model(aside, run.config, run.device)
    agreement = _agreement(run, source, model, tokenizer)
    examples, drawn = run.examples("test"), _drawn_with(run)
    texts = _draw(model, tokenizer, examples.prompts, drawn)
    figures = test_figures(run, texts)
    written = write_report(run, "deploy", "stage2", texts, report)
    serving = {
        "task": run.config.task.model_dump(mode="json"),
        "template": run.task.template_hash,
        "model": {"bf16": run.config.model.bf16},
        "quantization": run.config.deploy.quantization,
        "generation": drawn,
        "evaluated": {
            "device": str(run.device),
            "threads": torch.get_num_threads(),
            "examples": len(examples),
            "answers": answers_digest(texts),
        },
        "agreement": agreement,
        "record": plain({"gate": gate, "test": figures}),
        "versions": package_versions(),
    }
    (aside / SERVING).write_text(json.dumps(serving, indent=2), encoding="utf-8")
    (aside / "README.md").write_text(_model_card(run, serving), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    run.note("deploy", {"quantization": serving["quantization"], **agreement})
    return Deployed(agreement, figures, written)


def answers_digest(texts: Sequence[str]) -> str:
    """sha256 of answers in their order."""
    return hashlib.sha256("\x1f".join(texts).encode()).hexdigest()


def _save_served(run: LlmRun, source: Path, folder: Path, tokenizer: Any) -> None:
    """The merged model, quantised as configured, in a folder that opens by itself."""
    merged = merged_model(source, run.config.model, run.device)
    save_model(merged, tokenizer, folder)
    kind = run.config.deploy.quantization
    if kind != "none":
        settings = run.config.model.model_copy(update={"quantization": kind})
        quantised = load_model(folder, settings, run.device)
        shutil.rmtree(folder)
        save_model(quantised, tokenizer, folder)


def _drawn_with(run: LlmRun) -> dict[str, Any]:
    """How answers are drawn; keys are those of `sample`."""
    settings = run.config.generation
    return {
        "temperature": settings.temperature,
        "seed": run.answer_seed("test"),
        "batch": settings.batch_size,
        "max_new_tokens": settings.max_new_tokens,
    }


def _draw(
    model: Any, tokenizer: Any, prompts: Sequence[str], drawn: Mapping[str, Any]
) -> list[str]:
    return sample(
        model,
        tokenizer,
        prompts,
        temperature=float(drawn["temperature"]),
        seed=int(drawn["seed"]),
        batch=int(drawn["batch"]),
        max_new_tokens=int(drawn["max_new_tokens"]),
    )


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

    def table(self, delay_seconds: float = 0.0) -> Any:
        """A pandas frame, a row per decision: known_at, event, prediction, confidence, a chance per
        class (NaN where the answer does not parse) and the answer itself.

        Args:
            delay_seconds: From a decision to when its answer counts as known.

        Raises:
            DataError: The delay is negative.
        """
        import pandas as pd

        if not delay_seconds >= 0.0:
            remedy = "Give the time that the model needs."
            raise DataError("delay_seconds", "must be 0 or more", delay_seconds, remedy)
        known_at = self.examples.stamps + round(delay_seconds * NANOSECONDS)
        classes = self.task.classes
        nothing = np.full(len(classes), np.nan)
        chances = np.stack([nothing if a is None else a.chances for a in self.answers])
        return pd.DataFrame(
            {
                "known_at": pd.to_datetime(known_at, unit="ns", utc=True),
                "event": self.examples.columns["event"],
                "prediction": [None if a is None else a.says for a in self.answers],
                "confidence": [np.nan if a is None else a.confidence for a in self.answers],
                **{f"chance_{name}": chances[:, k] for k, name in enumerate(classes)},
                "answer": self.completions,
            }
        )


@dataclass(frozen=True, eq=False)
class Serving:
    """What a deployed folder says of itself.

    Attributes:
        config: The task and the number format; the rest is the defaults.
        task: What it answers.
        drawn: How answers were drawn when it was evaluated.
        evaluated: Device, threads, number of examples and sha256 of the answers of its evaluation.
    """

    config: LlmConfig
    task: Task
    drawn: Mapping[str, Any]
    evaluated: Mapping[str, Any]


def served(folder: Path) -> Serving:
    """Reads what a deployed model was trained and evaluated with.

    Raises:
        CheckpointError: It is no deployed model, or its template is not this version's.
    """
    try:
        serving = json.loads((folder / SERVING).read_text(encoding="utf-8"))
        values = {"task": serving["task"], "model": serving["model"]}
        template, found = serving["template"], serving["evaluated"]
        evaluated = {name: found[name] for name in ("device", "threads", "examples", "answers")}
        drawn = {
            name: serving["generation"][name]
            for name in ("temperature", "seed", "batch", "max_new_tokens")
        }
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
    return Serving(config, task, drawn, evaluated)


def predict(
    folder: Path,
    split: SplitName,
    device: torch.device,
    *,
    temperature: float | None = None,
    seed: int | None = None,
) -> Predictions:
    """Answers of a deployed model to a part of its task, drawn as in its evaluation.

    Args:
        folder: The deployed model.
        split: Which part.
        device: Where to compute; on another one than in the evaluation numbers differ in their last
            bits, and now and then a word.
        temperature: None: as evaluated; 0 takes the likeliest answer.
        seed: Of the draws; None: as evaluated.
    """
    serving = served(folder)
    if device.type == "cpu":  # sums over other numbers of threads differ in their last bits
        torch.set_num_threads(int(serving.evaluated["threads"]))
    examples = serving.task.examples(split, balanced=False)
    own = {"temperature": temperature, "seed": seed}
    drawn = dict(serving.drawn) | {k: value for k, value in own.items() if value is not None}
    model = _served_model(folder, serving.config, device)
    texts = _draw(model, load_tokenizer(folder), examples.prompts, drawn)
    answers = [serving.task.parse(p, c) for p, c in zip(examples.prompts, texts)]
    return Predictions(serving.task, examples, texts, answers)


def write_predictions(predictions: Predictions, path: Path, delay_seconds: float) -> None:
    """Writes predictions as parquet, in one step: of stocks the signal table (`signals.py`), which
    specialists and policies read; else `Predictions.table`.

    Args:
        predictions: What was answered.
        path: The file.
        delay_seconds: From a decision to when its answer counts as known.

    Raises:
        DataError: No prediction of a stock can be read, or the delay is negative.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    asked = predictions.examples
    if "symbol" in asked.columns:
        symbols = [str(symbol) for symbol in asked.columns["symbol"]]
        stamps, texts = asked.stamps.tolist(), predictions.completions
        frame = signal_frame(predictions.task, symbols, stamps, asked.prompts, texts, delay_seconds)
        write_signals(frame, path)
        return
    table = predictions.table(delay_seconds)
    write_atomically(path, lambda file: table.to_parquet(file, index=False))


def _served_model(folder: Path, config: LlmConfig, device: torch.device) -> Any:
    """The model of a deployed folder, in its number format; quantised as the folder itself says."""
    return load_model(folder, config.model.model_copy(update={"quantization": "none"}), device)


def _agreement(run: LlmRun, source: Path, model: Any, tokenizer: Any) -> dict[str, float]:
    """How often the likeliest answers of the deployed model are those of the model as trained."""
    examples = run.examples("validation")
    examples = examples.take(np.arange(min(COMPARED, len(examples))))
    greedy = _drawn_with(run) | {"temperature": 0.0}
    trained = load_model(source, run.config.model, run.device)
    before, after = (_draw(own, tokenizer, examples.prompts, greedy) for own in (trained, model))

    def says(texts: list[str]) -> list[str | None]:
        answers = [run.task.parse(p, c) for p, c in zip(examples.prompts, texts)]
        return [None if answer is None else answer.says for answer in answers]

    same = np.mean([a == b for a, b in zip(before, after)])
    alike = np.mean([a == b for a, b in zip(says(before), says(after))])
    return {"same_answer": float(same), "same_prediction": float(alike)}


def _model_card(run: LlmRun, serving: Mapping[str, Any]) -> str:
    config, agreement, drawn = run.config, serving["agreement"], serving["generation"]
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
* Quantisation: {serving["quantization"]}. Of {COMPARED} validation prompts, the model as it was
  trained predicts the same for {agreement["same_prediction"]:.1%} and answers
  {agreement["same_answer"]:.1%} word for word the same.
* Figures are those of this folder, answers drawn at temperature {drawn["temperature"]:g} on
  {serving["evaluated"]["device"]}; `mtquant llm predict` draws them the same way.
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
