# SPDX-License-Identifier: Apache-2.0
"""The stages of a run: references, stage I, gate, stage II; each a folder that opens by itself.

    run = LlmRun(config, Path("models/llm/demo"), Path("logs/llm"))
    run.sft(); run.stage("stage1"); run.stage("stage2")

    models/llm/demo/
      base/       a model made from nothing, before any training
      sft/  stage1/  stage2/    model (or its adapters), tokenizer, checkpoints/, begun.json (what
                  it is trained on and with, `identity.py`) and, at the end, done.json
      deploy/     what `mtquant llm predict` serves (`deploy.py`)
      card.json   the report card

With `resume` a stage that is done is not done again, and one that was interrupted goes on from its
newest checkpoint; either is refused under another configuration, other data or another base model.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mtquant.core.errors import CheckpointError, RunError
from mtquant.core.records import write_atomically
from mtquant.core.runs import RunFolder, plain
from mtquant.core.seeding import SeedTree
from mtquant.llm.checks import explained, require_form, require_ready, require_room
from mtquant.llm.config import NANO, Algorithm, LlmConfig
from mtquant.llm.encoding import encode_examples
from mtquant.llm.gate import Verdict, judge, measure, training_base_reward
from mtquant.llm.generation import sample
from mtquant.llm.identity import require_same, stage_identity
from mtquant.llm.job import Job, Progress, Trained, no_progress, numerics
from mtquant.llm.models import BASE_FOLDER, load_model, make_nano, save_model, with_adapters
from mtquant.llm.tasks.catalog import make_task
from mtquant.llm.tasks.task import Examples, SplitName, Stage
from mtquant.llm.tokenizer import load_tokenizer

BEGUN = "begun.json"
DONE = "done.json"
CHECKPOINTS = "checkpoints"
StageName = Literal["sft", "stage1", "stage2"]
ORDER: tuple[StageName, ...] = ("sft", "stage1", "stage2")
Watcher = Callable[[str], Progress]
"""A stage's name to who hears of its updates."""


class LlmRun:
    """One run: a task, a model, and what became of it.

    Args:
        config: Everything.
        folder: Receives models.
        log_dir: Receives TensorBoard's files, a folder per stage.
        watcher: Who shows progress.

    Raises:
        MtquantError: What `require_ready` refuses.
    """

    def __init__(
        self,
        config: LlmConfig,
        folder: Path,
        log_dir: Path,
        watcher: Watcher = lambda name: no_progress,
    ) -> None:
        self.config, self.folder, self.log_dir = config, folder, log_dir
        self.device = require_ready(config, folder)
        if config.run.torch_threads is not None:
            torch.set_num_threads(config.run.torch_threads)
        self.task = make_task(config.task)
        self._watcher = watcher
        self._seeds = SeedTree(config.run.seed).child("llm")

    @cached_property
    def start(self) -> str:
        """The model that supervised training begins with; one made from nothing is made here."""
        if self.config.model.source != NANO:
            return self.config.model.source
        place = self.folder / BASE_FOLDER
        if not (place / "config.json").is_file():
            model, tokenizer = make_nano(
                self.config.model,
                self.task.corpus(),
                self.task.domain_words(),
                self._seeds.child("weights").integer(),
            )
            save_model(model, tokenizer, place)
        return str(place)

    def sft(self, *, resume: bool = False) -> Trained:
        """Supervised fine-tuning on the references of the balanced training set."""
        from mtquant.llm.sft import fine_tune

        if not resume:  # a model that was made from nothing under other settings, perhaps
            shutil.rmtree(self.folder / BASE_FOLDER, ignore_errors=True)
            self.__dict__.pop("start", None)
        examples = self.task.examples("train", balanced=True)
        identity = stage_identity(self.config, "sft", "sft", examples, self.start)
        if resume and (done := self._kept("sft", identity)) is not None:
            return done
        job = self._job("sft", self.start, examples, None, resume)
        rows = encode_examples(job.tokenizer, examples, self.folder / "cache")
        longest = max(len(answer) for answer in rows.answers)
        require_room(longest, self.config.generation.max_new_tokens)
        self._begin("sft", job, identity)
        with explained():
            trained = fine_tune(job, self.config.sft, rows)
        return self._finish("sft", job, trained)

    def stage(
        self, name: Stage, algorithm: Algorithm | None = None, *, resume: bool = False
    ) -> Trained:
        """Stage I on the balanced set, or stage II on the natural one with a lower rate.

        Raises:
            CheckpointError: The stage before has not been trained; or what is to be resumed was
                begun under another configuration, on other data or with another base model.
            RunError: The model that it begins with hardly ever answers in form.
        """
        chosen: Algorithm = algorithm or self.config.stages.algorithm
        before: StageName = "sft" if name == "stage1" else "stage1"
        source = self.folder / before
        if self.done(before) is None:
            remedy = f"Train {before} first, with the same --output-dir."
            raise CheckpointError(str(source), "must hold a trained model", None, remedy)
        examples = self.task.examples("train", balanced=name == "stage1")
        identity = stage_identity(self.config, name, chosen, examples, str(source))
        if resume and (done := self._kept(name, identity)) is not None:
            return done
        job = self._job(name, str(source), examples, self.task.reward(name), resume)
        self._require_form(job)
        self._begin(name, job, identity)
        with explained():
            trained = self._train(job, chosen, name)
        return self._finish(name, job, trained)

    def answers(self, folder: Path, examples: Examples, name: str) -> list[str]:
        """Sampled answers of a trained model."""
        model = load_model(folder, self.config.model, self.device)
        settings = self.config.generation
        return sample(
            model,
            load_tokenizer(folder),
            examples.prompts,
            temperature=settings.temperature,
            seed=self.answer_seed(name),
            batch=settings.batch_size,
            max_new_tokens=settings.max_new_tokens,
        )

    def answer_seed(self, name: str) -> int:
        """Seed of the draws of answers for a purpose."""
        return self._seeds.child("answers", name).integer()

    def examples(self, split: SplitName) -> Examples:
        """The natural examples that judge: all, or as many as the configuration allows."""
        found = self.task.examples(split, balanced=False)
        most = getattr(self.config.stages, f"{split}_examples")
        if most is None or most >= len(found):
            return found
        return found.take(np.linspace(0, len(found) - 1, most).astype(np.int64))

    def gate(self) -> Verdict:
        """Judges stage I on the validation set."""
        done = self.done("stage1")
        if done is None:
            remedy = "Train stage1 first, with the same --output-dir."
            rule = "must hold a trained model"
            raise CheckpointError(str(self.folder / "stage1"), rule, None, remedy)
        examples = self.examples("validation")
        texts = self.answers(self.folder / "stage1", examples, "gate")
        confidence = self.config.gate.confidence
        figures = measure(self.task, examples, texts, "stage1", confidence)
        figures["training_base_reward"] = training_base_reward(self.task)
        verdict = judge(figures, done, self.config.gate, self.task.name)
        self.note("gate", verdict.record())
        return verdict

    def require_passed(self, verdict: Verdict) -> None:
        """Refuses to go on where the gate insists.

        Raises:
            RunError: A condition is missing.
        """
        if not verdict.passed and self.config.gate.insist:
            remedy = (
                "Train stage I longer or lower the threshold in the section gate; "
                "gate.insist=false goes on and says so in the report."
            )
            found = "; ".join(verdict.missing)
            raise RunError("gate", "must be passed before stage II", found, remedy)

    def done(self, name: str) -> Trained | None:
        """What a stage did; None where it was not finished."""
        file = self.folder / name / DONE
        if not file.is_file():
            return None
        try:
            return Trained(**json.loads(file.read_text(encoding="utf-8"))["trained"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = "Train the stage again."
            raise CheckpointError(str(file), "must be readable", str(error), remedy) from error

    def note(self, name: str, record: Mapping[str, Any]) -> None:
        """Adds something to the report card, where there is one."""
        card = RunFolder(self.folder)
        if (self.folder / "card.json").is_file():
            card.stage(name, record)

    def _job(
        self, name: StageName, source: str, examples: Examples, reward: Any, resume: bool
    ) -> Job:
        config, folder = self.config, self.folder / name
        going_on = resume and has_checkpoint(folder / CHECKPOINTS)
        torch.manual_seed(self._seeds.child(name, "adapters").integer())
        model = load_model(source, config.model, self.device, trainable=True)
        model = with_adapters(model, config.lora)
        if config.model.gradient_checkpointing:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        return Job(
            name=name,
            model=model,
            tokenizer=load_tokenizer(source),
            examples=examples,
            reward=reward,
            folder=folder,
            log_dir=self.log_dir / name,
            seed=self._seeds.child(name).integer(),
            max_new_tokens=config.generation.max_new_tokens,
            temperature=config.generation.temperature,
            generation_batch=config.generation.batch_size,
            log_completions=config.run.log_completions,
            resume=going_on,
            progress=self._watcher(name),
        )

    def _kept(self, name: StageName, identity: Mapping[str, Any]) -> Trained | None:
        """What a finished stage did; None where it is not finished.

        Raises:
            CheckpointError: It was begun, and not like this; or it does not say how.
        """
        done, folder = self.done(name), self.folder / name
        if done is None and not has_checkpoint(folder / CHECKPOINTS):
            return None
        try:
            begun = json.loads((folder / BEGUN).read_text(encoding="utf-8"))
            noted, computed = dict(begun["identity"]), dict(begun["numerics"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            rule, remedy = "must say what the stage began with", "Train it without --resume."
            raise CheckpointError(str(folder / BEGUN), rule, str(error), remedy) from error
        require_same(folder, identity, noted)
        if done is None:  # to go on inside a stage takes the same numbers too
            require_same(folder, numerics(self.device), computed)
        return done

    def _begin(self, name: StageName, job: Job, identity: Mapping[str, Any]) -> None:
        """Removes what an earlier try left, marks as not done what began with its model, and says
        what this one is trained on and with.
        """
        if not job.resume:
            shutil.rmtree(job.folder, ignore_errors=True)
            job.folder.mkdir(parents=True)
            text = json.dumps({"identity": identity, "numerics": numerics(self.device)}, indent=2)
            place = job.folder / BEGUN
            write_atomically(place, lambda file: file.write_text(text, encoding="utf-8"))
        for later in ORDER[ORDER.index(name) + 1 :]:
            (self.folder / later / DONE).unlink(missing_ok=True)

    def _train(self, job: Job, algorithm: Algorithm, name: Stage) -> Trained:
        config = self.config
        if algorithm == "ppo":
            from mtquant.llm.ppo import PpoTrainer

            return PpoTrainer(job, self._scaled(config.ppo, "num_rollouts", name)).train()
        if algorithm == "grpo":
            from mtquant.llm.grpo import optimise

            return optimise(job, self._scaled(config.grpo, "max_steps", name))
        from mtquant.llm.dpo import prefer

        return prefer(job, self._scaled(config.dpo, "max_steps", name))

    def _scaled(self, section: Any, updates: str, name: Stage) -> Any:
        """Stage II's settings: fewer updates, a lower rate."""
        if name == "stage1":
            return section
        stages = self.config.stages
        change = {
            updates: max(1, round(getattr(section, updates) * stages.stage2_updates)),
            "learning_rate": section.learning_rate * stages.stage2_rate,
        }
        return section.model_copy(update=change)

    def _require_form(self, job: Job) -> None:
        few = job.examples.take(np.arange(min(64, len(job.examples))))
        texts = sample(
            job.model,
            job.tokenizer,
            few.prompts,
            temperature=job.temperature,
            seed=job.seed,
            batch=job.generation_batch,
            max_new_tokens=job.max_new_tokens,
        )
        read = [self.task.parse(p, c) is not None for p, c in zip(few.prompts, texts)]
        require_form(job.name, float(np.mean(read)))

    def _finish(self, name: StageName, job: Job, trained: Trained) -> Trained:
        """Saves the model, then says that the stage is done, then lets the checkpoints go."""
        save_model(job.model, job.tokenizer, job.folder)
        record = {"trained": plain(asdict(trained)), "template": self.task.template_hash}
        text = json.dumps(record)
        write_atomically(job.folder / DONE, lambda file: file.write_text(text, encoding="utf-8"))
        shutil.rmtree(job.folder / CHECKPOINTS, ignore_errors=True)
        self.note(name, {"updates": trained.updates, **trained.figures})
        return trained


def has_checkpoint(folder: Path) -> bool:
    """Whether a stage can go on from one: of our PPO, or a whole one of TRL's trainers. One that
    was killed before its first begins anew.
    """
    ours, theirs = folder.glob("step_*"), folder.glob("checkpoint-*/trainer_state.json")
    return any(ours) or any(theirs)
