"""The model's own tokenizer, read from its `tokenizer.json` by the library `tokenizers` (the extra `llm`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.extras import install_command
from serve_deploy.language_models.architecture import read_architecture
from serve_deploy.language_models.checkpoint import CONFIG_FILE, parse_config_json

_NAME = "tokenizer.json"
_BATCH_CHARACTERS = 1 << 21  # of text that is encoded at a time: it bounds memory


@dataclass(frozen=True)
class Tokenizer:
    """Counts the tokens of texts as they are, without what a chat template or the server adds.

    `added_tokens` is how many special tokens, such as one that begins a text, the tokenizer would add to each.
    `context_tokens` is the model's longest context, where its config.json lies beside the tokenizer.
    """

    path: Path
    library: Any
    context_tokens: int | None = None

    @property
    def added_tokens(self) -> int:
        """Special tokens that a server usually adds to a plain prompt; its own count includes them."""
        return int(self.library.num_special_tokens_to_add(False))

    def encode(self, texts: Sequence[str]) -> Iterator[list[int]]:
        """The token ids of each text."""
        for batch in _batches(texts):
            for encoding in self.library.encode_batch_fast(batch, add_special_tokens=False):
                yield encoding.ids

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has; on all cores, about 1 s for each 10 MB, so not while requests are sent."""
        return [
            len(encoding)
            for batch in _batches(texts)
            for encoding in self.library.encode_batch_fast(batch, add_special_tokens=False)
        ]

    def vocabulary(self) -> dict[str, str]:
        """Every token but the special ones, in the order of their ids: as it is spelled, and the text that it is."""
        ids = sorted(self.library.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
        texts = self.library.decode_batch([[number] for _, number in ids])
        return dict(zip((spelled for spelled, _ in ids), texts, strict=True))


def read_tokenizer(path: Path) -> Tokenizer:
    """Read `tokenizer.json`, or the one in a folder; UsageError says what is missing, and what to install."""
    try:
        import tokenizers
    except ImportError:
        raise UsageError(
            f"`tokenizer={path}` needs the package tokenizers", hint=f"install it: {install_command('llm')}"
        ) from None
    file = path / _NAME if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"`tokenizer={path}`: {file} does not exist", hint=_find_other(file.parent))
    try:
        library = tokenizers.Tokenizer.from_buffer(file.read_bytes())
    except Exception as error:
        raise UsageError(f"`tokenizer={path}` cannot be read: {error}", hint="give a model's tokenizer.json") from error
    # What a file says of these is for training: it would count a long text as 512 tokens.
    library.no_truncation()
    library.no_padding()
    return Tokenizer(file, library, _read_context(file.with_name(CONFIG_FILE)))


def _read_context(path: Path) -> int | None:
    try:
        return read_architecture(parse_config_json(path.read_bytes(), path)).context
    except (OSError, InvalidModelError):
        return None


def _find_other(folder: Path) -> str:
    others = [name for name in ("tokenizer.model", "vocab.json", "vocab.txt") if (folder / name).is_file()]
    if not others:
        return "give the model's tokenizer.json, or the folder that holds it"
    return (
        f"there is only {others[0]}: "
        "transformers' AutoTokenizer.from_pretrained(…).save_pretrained(…) writes a tokenizer.json of it"
    )


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    sizes = itertools.accumulate(map(len, texts), initial=0)
    for _, batch in itertools.groupby(zip(texts, sizes, strict=False), lambda pair: pair[1] // _BATCH_CHARACTERS):
        yield [text for text, _ in batch]
