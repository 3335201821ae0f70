# SPDX-License-Identifier: Apache-2.0
"""The tokenizer of models made from nothing: byte-level BPE, trained on a task's own texts.

    tokenizer = train_tokenizer(task.corpus(), task.domain_words(), vocabulary=768)

Bytes are the alphabet, so every text can be read and comes back as it was (Sennrich, Haddow & Birch
2016, "Neural machine translation of rare words with subword units"; Radford et al. 2019 for bytes).
Digits are tokens one by one, so that a number is written the same way wherever it stands. Domain
words (tickers, team names, the words of an answer) are one token each, with and without the blank
before them: words that a task names, and words of its texts that match a pattern of the
configuration.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtquant.core.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, END = "<|endoftext|>", "<|im_end|>"
SPECIAL = (PAD, "<|im_start|>", END)
LEAST_COUNT = 2  # a word that stands once in all texts gets no token
MERGES = 400  # that the error for a vocabulary without room asks for


def train_tokenizer(
    corpus: Iterable[str],
    domain_words: Sequence[str],
    vocabulary: int,
    patterns: Sequence[str] = (),
) -> PreTrainedTokenizerFast:
    """A tokenizer trained on texts; the same texts give the same one.

    Args:
        corpus: Texts, read once.
        domain_words: Tokens of their own.
        vocabulary: The most tokens; texts that run out of pairs to merge need fewer.
        patterns: Regular expressions of further domain words.

    Raises:
        ConfigError: A pattern is not a regular expression, or the vocabulary has no room for the
            256 bytes, the special tokens and the domain words.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer
    from transformers import PreTrainedTokenizerFast

    texts = list(corpus)
    words = list(dict.fromkeys([*domain_words, *matching_words(texts, patterns)]))
    spellings = [spelling for word in words for spelling in (word, f" {word}")]
    room = vocabulary - len(spellings)
    if room < 256 + len(SPECIAL):
        needed = 256 + len(SPECIAL) + len(spellings)
        remedy = (
            f"Raise it to {needed + MERGES}: {len(words)} domain words need that much, and a"
            " vocabulary without room for more spells all other words out. Or name fewer of them."
        )
        raise ConfigError("model.vocabulary", f"must be {needed} or more", vocabulary, remedy)
    core = Tokenizer(BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=room,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Domain words are added afterwards and cut out before merging: merges must not see them either.
    core.train_from_iterator((_without(text, words) for text in texts), trainer)
    core.add_tokens([AddedToken(spelling, normalized=False) for spelling in spellings])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=END,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def matching_words(texts: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """Words of the texts that match a pattern whole and stand there more than once, sorted.

    Raises:
        ConfigError: A pattern is not a regular expression.
    """
    rules = []
    for pattern in patterns:
        try:
            rules.append(re.compile(pattern))
        except re.error as error:
            remedy = f"Mend it: {error}."
            rule = "must hold regular expressions"
            raise ConfigError("model.domain_patterns", rule, pattern, remedy) from error
    if not rules:
        return []
    counts = Counter(word for text in texts for word in re.findall(r"[^\s:;,.()%$?!]+", text))
    return sorted(
        word
        for word, count in counts.items()
        if count >= LEAST_COUNT and any(rule.fullmatch(word) for rule in rules)
    )


def load_tokenizer(source: str | Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a model folder, a Hub id, or a SentencePiece file (``*.model``).

    Padding stands on the left, where generation needs it; a tokenizer without a padding token pads
    with its end token.

    Raises:
        ConfigError: There is none, or it has no end token.
    """
    from transformers import AutoTokenizer

    path = Path(source)
    try:
        if path.suffix == ".model":
            tokenizer: Any = _sentencepiece(path)
        else:
            tokenizer = AutoTokenizer.from_pretrained(str(source), trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        remedy = (
            "Name a folder that holds a model and its tokenizer, or download it while there is a "
            "network (HF_HUB_OFFLINE=1 forbids it)."
        )
        problem = f"{source}: {str(error).splitlines()[0]}"
        raise ConfigError("tokenizer", "must be readable", problem, remedy) from error
    if tokenizer.eos_token_id is None:
        remedy = "Choose a tokenizer with an end token: answers could not end."
        raise ConfigError(f"tokenizer of {source}", "must have an end token", None, remedy)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "left"
    found: PreTrainedTokenizerFast = tokenizer
    return found


def _sentencepiece(path: Path) -> Any:
    from sentencepiece import SentencePieceProcessor
    from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

    if not path.is_file():
        raise OSError("there is no such file")
    model = SentencePieceProcessor(model_file=str(path))
    ids = {"bos_token": model.bos_id(), "eos_token": model.eos_id(), "unk_token": model.unk_id()}
    named = {name: model.id_to_piece(number) for name, number in ids.items() if number >= 0}
    return SentencePieceBackend(vocab_file=str(path), **named)


def _without(text: str, words: Sequence[str]) -> str:
    for word in words:
        text = text.replace(f" {word}", "\n").replace(word, "\n")
    return text
