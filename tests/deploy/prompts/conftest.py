"""Each kind of tokenizer, trained once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizer_files import KINDS, write_tokenizer

from serve_deploy.prompts.tokenizer import Tokenizer, read_tokenizer


@pytest.fixture(scope="session")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tokenizer]:
    """By the name of the kind."""
    folder = tmp_path_factory.mktemp("tokenizers")
    return {kind: read_tokenizer(write_tokenizer(folder / kind, make())) for kind, make in KINDS.items()}


@pytest.fixture(scope="session")
def byte_bpe(tokenizers: dict[str, Tokenizer]) -> Path:
    """The file of one that is like Llama 3's."""
    return tokenizers["byte_bpe"].path
