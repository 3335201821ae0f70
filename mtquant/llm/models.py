# SPDX-License-Identifier: Apache-2.0
"""Models: made from nothing, loaded from a folder or the Hub, with adapters, quantised, merged.

    model, tokenizer = make_nano(config, task.corpus(), task.domain_words(), seed=7)
    model = with_adapters(load_model(folder, config.model, device), config.lora)
    merged_model(folder, device).save_pretrained(place)

Whatever is saved is what transformers and peft save: it opens with ``AutoModelForCausalLM``,
``AutoTokenizer`` and ``PeftModel``. Weights are read from safetensors only: the older format runs
pickle, and code that a model brings along is never run.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from mtquant.core.errors import CheckpointError, ConfigError
from mtquant.llm.config import LoraSettings, ModelConfig
from mtquant.llm.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

ADAPTER_FILE = "adapter_config.json"
BASE_FOLDER = "base"


class Size(NamedTuple):
    """Shape of a model made from nothing."""

    hidden: int
    layers: int
    heads: int


SIZES = {"tiny": Size(64, 2, 4), "small": Size(128, 2, 4), "base": Size(256, 4, 8)}


def make_nano(
    config: ModelConfig, corpus: Iterable[str], domain_words: Sequence[str], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """``mtquant-nano``: an untrained Qwen3 (Yang et al. 2025) and a tokenizer for the corpus.

    Args:
        config: Its size and vocabulary.
        corpus, domain_words: What the tokenizer learns from.
        seed: Of the first weights.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = train_tokenizer(corpus, domain_words, config.vocabulary, config.domain_patterns)
    size = SIZES[config.size]
    shape = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=3 * size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads // 2,
        head_dim=size.hidden // size.heads,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(shape)
    return model, tokenizer


def load_model(
    source: str | Path, config: ModelConfig, device: torch.device, *, trainable: bool = False
) -> PreTrainedModel | PeftModel:
    """A model from a folder or the Hub; a folder of adapters brings its base model along.

    Args:
        source: Folder or Hub id.
        config: Its quantisation, number format and checkpointing.
        device: Where it goes.
        trainable: Whether adapters that are found are to be trained further.

    Raises:
        CheckpointError: There is no such model, or it cannot be read.
    """
    from peft import PeftModel

    folder = Path(source)
    adapters = folder / ADAPTER_FILE
    if adapters.is_file():
        base = _load_base(base_of(folder), config, device)
        return PeftModel.from_pretrained(base, str(folder), is_trainable=trainable)
    return _load_base(str(source), config, device)


def base_of(folder: Path) -> str:
    """The model that a folder's adapters were trained on: ``base`` beside it, else as noted.

    A run that began with a model made from nothing holds that model, and may be moved as a whole.
    """
    beside = folder.parent / BASE_FOLDER
    if beside.is_dir():
        return str(beside)
    try:
        noted = json.loads((folder / ADAPTER_FILE).read_text(encoding="utf-8"))
        return str(noted["base_model_name_or_path"])
    except (OSError, ValueError, KeyError) as error:
        remedy = "Copy the whole folder again."
        raise CheckpointError(
            str(folder / ADAPTER_FILE), "must name the base model", str(error), remedy
        ) from error


def quantization_of(kind: str, bf16: bool) -> Any:
    """Bitsandbytes' settings for "8bit" or "4bit"; None for "none"."""
    if kind == "none":
        return None
    from transformers import BitsAndBytesConfig

    if kind == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if bf16 else torch.float32,
    )


def with_adapters(model: PreTrainedModel | PeftModel, lora: LoraSettings) -> Any:
    """The model with fresh adapters, or as it is where it has some or none are wanted.

    Raises:
        ConfigError: No layer has one of the names; or the model is quantised and none are wanted.
    """
    from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training

    if isinstance(model, PeftModel):
        return model
    quantised = getattr(model, "is_quantized", False)
    if not lora.enabled:
        if quantised:
            remedy = "Set lora.enabled=true, or model.quantization=none."
            rule = "must be true for a quantised model, whose own weights are frozen"
            raise ConfigError("lora.enabled", rule, False, remedy)
        return model
    settings = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
    if quantised:
        # Checkpointing is switched on by the trainers; here it would warn without one.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    try:
        return get_peft_model(model, settings)
    except ValueError as error:
        names = sorted({name.rpartition(".")[2] for name, _ in model.named_modules() if name})
        remedy = f"Layers of this model are: {', '.join(names[:30])}."
        found = list(lora.target_modules)
        raise ConfigError("lora.target_modules", "must name layers", found, remedy) from error


def save_model(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes model (or its adapters) and tokenizer into an empty or new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def merged_model(folder: Path, config: ModelConfig, device: torch.device) -> PreTrainedModel:
    """The model of a folder with its adapters added into the weights: in float32, so that nothing
    of them is lost in the sum, and then in the configured number format.
    """
    from peft import PeftModel

    plain = config.model_copy(update={"quantization": "none", "bf16": False})
    model = load_model(folder, plain, device)
    if isinstance(model, PeftModel):
        model = model.merge_and_unload()
    if config.bf16:
        model.bfloat16()
    merged: PreTrainedModel = model
    return merged


def trainable_parameters(model: Any) -> dict[str, torch.nn.Parameter]:
    """Those that learn, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _load_base(source: str, config: ModelConfig, device: torch.device) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    # An 8-bit model would say with every product that it computes in float16.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    quantization = quantization_of(config.quantization, config.bf16)
    options: dict[str, Any] = {} if quantization is None else {"quantization_config": quantization}
    if quantization is not None:
        options["device_map"] = {"": str(device)}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source,
            dtype=torch.bfloat16 if config.bf16 else torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            **options,
        )
    except (OSError, ValueError, ImportError) as error:
        remedy = (
            "Name a folder with config.json and safetensors, or a Hub id that was downloaded "
            "before (`hf download ID`; private ones after `hf auth login`)."
        )
        found = f"{source}: {str(error).splitlines()[0]}"
        raise CheckpointError("model.source", "must be a readable model", found, remedy) from error
    if quantization is None:
        model.to(device)  # type: ignore[arg-type]  # its hint takes a decorated self for the device
    return model


def chosen_device(name: str) -> torch.device:
    """The device of ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ConfigError: cuda, and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        remedy = "Set run.device=auto, or install a torch built for your GPU."
        raise ConfigError("run.device", "must be a device this machine has", name, remedy)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
