"""Small real tokenizers, of each kind that language models have, trained by the library itself."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from serve_deploy.prompts.words import common_words


@cache
def _corpus() -> list[str]:
    """Sentences of common words, some far more frequent than others."""
    words, generator = common_words().words, random.Random(0)
    weights = [1 / place for place in range(1, len(words) + 1)]
    return [" ".join([*generator.choices(words, weights, k=12), "The 3 Dogs."]) for _ in range(1000)]


def byte_bpe() -> Tokenizer:
    """As GPT-2's, Llama 3's and Qwen's: BPE over bytes, split at spaces."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, trainers.BpeTrainer, 2000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def bare_bytes() -> Tokenizer:
    """Without a single merge: no word is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, trainers.BpeTrainer, 256, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


def word_piece() -> Tokenizer:
    """As BERT's, with special tokens around each text, and a limit of length that is meant for training."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer = _trained(tokenizer, trainers.WordPieceTrainer, 2000, special_tokens=["[UNK]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_truncation(64)
    tokenizer.enable_padding(length=64)
    return tokenizer


def unigram() -> Tokenizer:
    """As T5's: the likeliest pieces, with a mark for each space."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _trained(tokenizer, trainers.UnigramTrainer, 1500, special_tokens=["<unk>"], unk_token="<unk>")


def marked_bpe() -> Tokenizer:
    """As Llama 2's and Mistral's: BPE that nothing splits before, with a mark for each space."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    return _trained(tokenizer, trainers.BpeTrainer, 2000, special_tokens=["<unk>"], words=True)


def whole_phrases() -> Tokenizer:
    """Pieces that run over spaces, so that neighbours become one token."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    tokenizer.decoder = decoders.Metaspace()
    return _trained(tokenizer, trainers.UnigramTrainer, 3000, special_tokens=["<unk>"], unk_token="<unk>")


def crossing_bpe() -> Tokenizer:
    """BPE over bytes that nothing splits before: some tokens run over a space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, trainers.BpeTrainer, 1500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())


KINDS: dict[str, Callable[[], Tokenizer]] = {
    make.__name__: make for make in (byte_bpe, bare_bytes, word_piece, unigram, marked_bpe, crossing_bpe, whole_phrases)
}


def _trained(tokenizer: Tokenizer, trainer: Callable[..., object], size: int, words: bool = False, **settings: object):
    texts = [word for line in _corpus() for word in line.split()] if words else _corpus()
    tokenizer.train_from_iterator(texts, trainer(vocab_size=size, show_progress=False, **settings))
    return tokenizer


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> Path:
    """The tokenizer as the `tokenizer.json` of a model's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    return path
