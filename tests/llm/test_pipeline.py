# SPDX-License-Identifier: Apache-2.0
"""All stages in a row, from the command line, on models far too small and short of training to know
anything: what is written, what opens, what is refused.
"""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from mtquant.cli.llm import settings
from mtquant.cli.main import app
from mtquant.core.errors import CheckpointError, MtquantError, RunError
from mtquant.core.runs import plain
from mtquant.llm import checks

pytestmark = pytest.mark.llm

SHORT = (
    "task.synthetic.train=60",
    "task.synthetic.validation=24",
    "task.synthetic.test=24",
    "generation.max_new_tokens=40",
    "sft.max_steps=2",
    "sft.batch_size=4",
    "sft.save_steps=1",
    "ppo.num_rollouts=2",
    "ppo.rollout_batch_size=8",
    "ppo.micro_batch_size=8",
    "ppo.save_rollouts=1",
    "grpo.max_steps=2",
    "grpo.batch_size=8",
    "grpo.micro_batch_size=8",
    "grpo.num_generations=4",
    "grpo.save_steps=1",
    "gate.insist=false",
    "run.torch_threads=1",
)


def command(*arguments, folder, overrides=SHORT):
    flags = [text for override in overrides for text in ("--set", override)]
    places = ["--output-dir", str(folder / "run"), "--log-dir", str(folder / "logs")]
    result = CliRunner().invoke(app, ["llm", *arguments, "--demo", *places, *flags])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A pipeline that ran through; answers in no form at all are let pass."""
    folder = tmp_path_factory.mktemp("pipeline")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checks, "LEAST_FORM", 0.0)
        return folder, command("pipeline", folder=folder)


def test_it_says_which_condition_is_missing(finished):
    _, result = finished
    assert result.exit_code == 0
    assert "gate MISSING   reward above the base-rate answer's" in result.stdout
    assert "gate MISSING   accuracy near the best possible" in result.stdout
    assert "gate MISSING   consistent rewards: unknown: 2 of 10 batches" in result.stdout
    assert "gate not asked accuracy" in result.stdout


def test_what_the_report_comes_to_is_said_on_the_terminal_too(finished):
    folder, result = finished
    sentence = (folder / "run" / "report" / "report.md").read_text().splitlines()[2]
    assert f"skill         {sentence}\n" in result.stdout


def test_every_stage_opens_with_transformers(finished):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = finished[0] / "run"
    for name in ("base", "sft", "stage1", "stage2", "deploy"):
        model = AutoModelForCausalLM.from_pretrained(str(run / name))
        tokenizer = AutoTokenizer.from_pretrained(str(run / name))
        assert model.config.vocab_size == len(tokenizer), name
    assert not list(run.glob("*/checkpoints"))


def test_the_card_the_curves_and_the_model_card_are_there(finished):
    from mtquant.llm.judging import _asked

    folder, _ = finished
    stages = json.loads((folder / "run" / "card.json").read_text())["stages"]
    assert set(stages) == {"sft", "stage1", "gate", "stage2", "test", "deploy"}
    assert stages["gate"]["passed"] is False
    for name in ("sft", "stage1", "stage2"):
        assert list((folder / "logs" / name).glob("events.*"))
    page = (folder / "run" / "report" / "report.md").read_text()
    assert "base rate" in page and "stage2 reward" in page
    assert "| test examples | 24, all of the test part |" in page
    assert _asked(1_000, 2_500) == "1,000 of the 2,500 of the test part, evenly spread"
    text = (folder / "run" / "deploy" / "README.md").read_text()
    assert "Gate between the stages: missing" in text and "| accuracy |" in text


def test_a_deployed_model_is_served(finished):
    folder, _ = finished
    out = folder / "signals.parquet"
    arguments = ["llm", "predict", "--model", str(folder / "run" / "deploy"), "--output", str(out)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    table = pd.read_parquet(out)
    assert len(table) == 24 and table["known_at"].is_monotonic_increasing
    assert {"prediction", "confidence", "chance_UP", "chance_DOWN", "answer"} <= set(table.columns)
    # An answer takes time: it is known a minute after its decision, or when one says.
    assert (table["known_at"].dt.second + 60 * table["known_at"].dt.minute == 60).all()
    CliRunner().invoke(app, [*arguments, "--delay-seconds", "5"], catch_exceptions=False)
    assert (pd.read_parquet(out)["known_at"].dt.second == 5).all()


def test_what_is_served_is_what_was_evaluated(finished):
    """Answers of the deployed folder are those of the report, and the card's figures are theirs."""
    from mtquant.llm.deploy import SERVING, answers_digest, predict
    from mtquant.llm.judging import test_figures
    from mtquant.llm.stages import LlmRun
    from tests.support.nano import CPU

    folder, config = finished[0] / "run", settings(None, True, SHORT)
    serving = json.loads((folder / "deploy" / SERVING).read_text())
    found = predict(folder / "deploy", "test", CPU)
    assert answers_digest(found.completions) == serving["evaluated"]["answers"]
    assert serving["evaluated"]["examples"] == len(found.completions) == 24
    figures = test_figures(LlmRun(config, folder, folder), found.completions)
    assert plain(figures) == serving["record"]["test"]
    # Other draws are other answers, and the likeliest ones need no seed.
    other = predict(folder / "deploy", "test", CPU, seed=1)
    assert answers_digest(other.completions) != serving["evaluated"]["answers"]
    greedy = [predict(folder / "deploy", "test", CPU, temperature=0.0, seed=s) for s in (1, 2)]
    assert greedy[0].completions == greedy[1].completions


def test_a_bfloat16_model_is_evaluated_and_served_as_one(finished, tmp_path):
    """Adapters on it are merged in float32; the folder says which format, and serving keeps it."""
    from shutil import copytree

    import torch

    from mtquant.llm.deploy import SERVING, _served_model, answers_digest, deploy, predict, served
    from mtquant.llm.stages import LlmRun
    from tests.support.nano import CPU

    copytree(finished[0] / "run", tmp_path / "run")
    overrides = (*SHORT, "model.bf16=true", "lora.enabled=true", "deploy.quantization=none")
    run = LlmRun(settings(None, True, overrides), tmp_path / "run", tmp_path / "logs")
    deploy(run, tmp_path / "run" / "stage2", {"conditions": []}, tmp_path / "report")
    folder = tmp_path / "run" / "deploy"
    model = _served_model(folder, served(folder).config, CPU)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    evaluated = json.loads((folder / SERVING).read_text())["evaluated"]
    assert answers_digest(predict(folder, "test", CPU).completions) == evaluated["answers"]


def test_what_is_done_is_not_done_again(finished, monkeypatch):
    folder, _ = finished
    stamp = (folder / "run" / "stage1" / "done.json").stat().st_mtime_ns
    monkeypatch.setattr(checks, "LEAST_FORM", 0.0)
    assert command("pipeline", "--resume", folder=folder).exit_code == 0
    assert (folder / "run" / "stage1" / "done.json").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sft.learning_rate=0.1", "^sft.learning_rate must be 0.005 to go on with"),
        ("task.synthetic.momentum=0.2", "^task.synthetic.momentum must be 0.85"),
        ("ppo.learning_rate=0.1", "^ppo.learning_rate must be 0.001"),
        ("stages.algorithm=grpo", "^stages.algorithm must be 'ppo'"),
    ],
)
def test_what_was_done_otherwise_is_not_taken_for_one_s_own(finished, override, message):
    with pytest.raises(CheckpointError, match=message):
        command("pipeline", "--resume", folder=finished[0], overrides=(*SHORT, override))


def test_what_was_done_from_another_base_is_refused(finished):
    """The weights that references began with are swapped for others of the same shape."""
    weights = finished[0] / "run" / "base" / "model.safetensors"
    kept = weights.read_bytes()
    weights.write_bytes(kept[:-4] + b"\0\0\0\0")
    with pytest.raises(CheckpointError, match=r"^base weights must be"):
        command("pipeline", "--resume", folder=finished[0])
    weights.write_bytes(kept)


def test_grpo_trains_a_stage_too_and_what_followed_is_not_done_any_more(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.setattr(checks, "LEAST_FORM", 0.0)
    result = command("train", "--algorithm", "grpo", folder=folder)
    assert result.exit_code == 0
    assert not (folder / "run" / "stage2" / "done.json").exists()
    done = json.loads((folder / "run" / "stage1" / "done.json").read_text())["trained"]
    assert done["updates"] == 2 and len(done["rewards"]) == 2


def test_a_served_model_needs_its_template(finished, monkeypatch):
    from mtquant.llm import deploy

    folder = finished[0] / "run" / "deploy"
    with pytest.raises(CheckpointError, match="must be a deployed model"):
        deploy.served(finished[0] / "run" / "sft")
    serving = json.loads((folder / "serving.json").read_text())
    other = {**serving, "template": "0" * 64}
    (finished[0] / "serving.json").write_text(json.dumps(other))
    with pytest.raises(CheckpointError, match="this version's template"):
        deploy.served(finished[0])


def test_the_gate_stops_where_it_insists(finished):
    folder, _ = finished
    with pytest.raises(RunError, match="must be passed before stage II"):
        command("train", "--stage", "stage2", folder=folder, overrides=(*SHORT, "gate.insist=true"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.source=no/such/model", "model.source must be a model at hand"),
        ("run.device=cuda", "run.device must be a device this machine has"),
        ("model.quantization=4bit", "lora.enabled must be true for a quantised model"),
        ("task.name=stock_directoin", "task.name must be"),
        ("generation.max_new_tokens=20", "max_new_tokens must be at least 3[0-9], the tokens"),
        ("ppo.minibatches=3", "must be a multiple of minibatches"),
    ],
)
def test_what_cannot_work_is_refused_before_work(tmp_path, monkeypatch, override, message):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MtquantError, match=message):
        command("sft", folder=tmp_path, overrides=(*SHORT, override))
    assert not (tmp_path / "run" / "sft").exists()


def test_a_full_disk_is_found_before_work(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(1, 1, 0))
    with pytest.raises(RunError, match="MB of free disk"):
        command("sft", folder=tmp_path)


def test_a_stage_needs_the_one_before(tmp_path):
    with pytest.raises(CheckpointError, match="Train sft first"):
        command("train", folder=tmp_path)


def test_a_model_without_form_is_not_reinforced(finished):
    with pytest.raises(RunError, match="of the answers can be read"):
        command("train", folder=finished[0])


def test_a_stage_killed_before_its_first_checkpoint_begins_anew(finished, monkeypatch):
    run = finished[0] / "run"
    (run / "stage1" / "done.json").unlink()
    (run / "stage1" / "checkpoints" / "checkpoint-1").mkdir(parents=True)  # without its state
    (run / "stage1" / "begun.json").unlink()
    monkeypatch.setattr(checks, "LEAST_FORM", 0.0)
    assert command("train", "--resume", folder=finished[0]).exit_code == 0
    assert (run / "stage1" / "done.json").is_file()


def test_a_checkpoint_of_another_configuration_is_not_gone_on_with(finished, monkeypatch):
    """Killed inside TRL's trainer, which itself would go on with anything."""
    run = finished[0] / "run"
    assert command("sft", "--overwrite", folder=finished[0]).exit_code == 0
    (run / "sft" / "done.json").unlink()
    (run / "sft" / "checkpoints" / "checkpoint-1").mkdir(parents=True)
    (run / "sft" / "checkpoints" / "checkpoint-1" / "trainer_state.json").write_text("{}")
    for override, key in (
        ("sft.weight_decay=0.5", "sft.weight_decay"),
        ("task.days=5", "task.days"),
        ("run.torch_threads=2", "threads"),
    ):
        with pytest.raises(CheckpointError, match=f"^{key} must be"):
            command("sft", "--resume", folder=finished[0], overrides=(*SHORT, override))
    (run / "sft" / "begun.json").unlink()
    with pytest.raises(CheckpointError, match="must say what the stage began with"):
        command("sft", "--resume", folder=finished[0])
