# SPDX-License-Identifier: Apache-2.0
"""Every text comes back, digits stand alone, domain words are one token."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtquant.core.errors import ConfigError
from mtquant.llm.tokenizer import load_tokenizer, matching_words, train_tokenizer

pytestmark = pytest.mark.llm

CORPUS = ["Company: OMNI (Omni Group)\nDay 1: $328.32\nPrediction: UP\nConfidence: 78%"] * 5


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(CORPUS, ("UP", "DOWN"), 400, ("[A-Z]{4}",))


@given(text=st.text(max_size=60))
@settings(max_examples=100)
def test_every_text_comes_back(tokenizer, text):
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    special = set(tokenizer.all_special_tokens)
    if not any(mark in text for mark in special):
        assert tokenizer.decode(tokens) == text


def test_digits_and_domain_words_are_single_tokens(tokenizer):
    tokens = tokenizer.tokenize("DOWN 328.32 UP OMNI")
    assert [t for t in tokens if any(c.isdigit() for c in t)] == list("32832")
    assert {"DOWN", " UP", " OMNI"} <= set(tokens)  # with the blank before them
    assert tokenizer.padding_side == "left"


def test_the_same_texts_give_the_same_tokenizer(tokenizer):
    again = train_tokenizer(CORPUS, ("UP", "DOWN"), 400, ("[A-Z]{4}",))
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_words_that_match_a_pattern_whole_and_stand_there_twice():
    texts = ["BOS beat NYK.", "BOS lost; LAL won", "BOSTON NYK"]
    assert matching_words(texts, ("[A-Z]{3}",)) == ["BOS", "NYK"]
    assert matching_words(texts, ()) == []


def test_what_cannot_be_is_refused():
    with pytest.raises(ConfigError, match="regular expressions"):
        matching_words(["a"], ("[",))
    with pytest.raises(ConfigError, match="must be 263 or more"):
        train_tokenizer(CORPUS, ("UP", "DOWN"), 262)
    with pytest.raises(ConfigError, match="Raise it to 663: 2 domain words need that much"):
        train_tokenizer(CORPUS, ("UP", "DOWN"), 262)
    assert len(train_tokenizer(CORPUS, ("UP", "DOWN"), 663)) > 263
    with pytest.raises(ConfigError, match="tokenizer must be readable"):
        load_tokenizer("no/such/folder")


def test_it_opens_with_transformers(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(str(tmp_path))
    opened = AutoTokenizer.from_pretrained(str(tmp_path))
    text = "Prediction: UP\nConfidence: 55%"
    assert opened(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert (opened.eos_token, opened.pad_token) == ("<|im_end|>", "<|endoftext|>")


def test_sentencepiece_models_load(tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 4),
        model_prefix=str(tmp_path / "tiny"),
        vocab_size=60,
        model_type="bpe",
        hard_vocab_limit=False,
        minloglevel=2,
    )
    tokenizer = load_tokenizer(tmp_path / "tiny.model")
    reference = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tiny.model"))
    text = "Day 1: UP"
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == reference.encode(text)
    assert tokenizer.pad_token_id is not None and tokenizer.padding_side == "left"
