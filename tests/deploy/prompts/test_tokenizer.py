"""Reading a model's tokenizer, and counting with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from serve_deploy.errors import UsageError
from serve_deploy.extras import install_command
from serve_deploy.prompts.tokenizer import Tokenizer, read_tokenizer


def test_a_folder_means_the_tokenizer_in_it(byte_bpe: Path) -> None:
    """As model folders have it."""
    assert read_tokenizer(byte_bpe.parent).count_tokens(["the air"]) == read_tokenizer(byte_bpe).count_tokens(
        ["the air"]
    )


def test_a_limit_that_is_meant_for_training_cuts_no_count(tokenizers: dict[str, Tokenizer]) -> None:
    """The file says 64 tokens, for longer and for shorter texts."""
    assert tokenizers["word_piece"].count_tokens(["the " * 1000, "the"]) == [1000, 1]


def test_special_tokens_are_told_apart(tokenizers: dict[str, Tokenizer]) -> None:
    """The text counts alone; what a server would add has a number of its own."""
    assert (tokenizers["word_piece"].added_tokens, tokenizers["byte_bpe"].added_tokens) == (2, 0)
    assert tokenizers["word_piece"].count_tokens(["the air", ""]) == [2, 0]


def test_many_texts_are_counted_in_their_order(tokenizers: dict[str, Tokenizer]) -> None:
    """Also where they are more than are encoded at a time."""
    texts = ["the " * (index % 7) + "the" for index in range(300)] + ["the" + " the" * 400_000, "the", "the the the"]
    assert tokenizers["word_piece"].count_tokens(texts) == [*(index % 7 + 1 for index in range(300)), 400_001, 1, 3]


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ({}, "give the model's tokenizer.json, or the folder that holds it"),
        ({"tokenizer.model": b""}, "there is only tokenizer.model: transformers' AutoTokenizer"),
    ],
)
def test_a_folder_without_one_says_what_to_give(tmp_path: Path, files: dict[str, bytes], hint: str) -> None:
    """And how to make one of another file."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=r"tokenizer\.json does not exist") as caught:
        read_tokenizer(tmp_path)
    assert str(caught.value.hint).startswith(hint)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"model": 5}'])
def test_what_is_no_tokenizer_is_refused(tmp_path: Path, content: bytes) -> None:
    """With the library's own reason."""
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=f"`tokenizer={path}` cannot be read: ."):
        read_tokenizer(path)


def test_without_the_library_the_error_says_how_to_install_it(byte_bpe: Path) -> None:
    """In a Python that cannot import it."""
    program = (
        "import sys; sys.modules['tokenizers'] = None\n"
        "from pathlib import Path; from serve_deploy.errors import UsageError\n"
        "from serve_deploy.prompts.tokenizer import read_tokenizer\n"
        "try: read_tokenizer(Path(sys.argv[1]))\n"
        "except UsageError as error: print(error.message, error.hint, sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", program, str(byte_bpe)], capture_output=True, text=True, check=True)
    assert done.stdout.strip().split("|") == [
        f"`tokenizer={byte_bpe}` needs the package tokenizers", f"install it: {install_command('llm')}"
    ]  # fmt: skip
