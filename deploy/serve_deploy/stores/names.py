"""Which paths a snapshot may hold: what every store and every file system keeps apart, and nothing outside of it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

# Control characters and line ends, which a listing by lines cannot hold; surrogates, which UTF-8 cannot.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")
_LONGEST_BYTES = 900


def find_bad_path(paths: Sequence[str]) -> str | None:
    """The first reason why files cannot have these paths below a repository; None where they can."""
    return next((reason for path in paths if (reason := _judge(path))), None) or _find_clash(paths)


def _judge(path: str) -> str | None:
    shown = path.encode("unicode_escape").decode() if _UNWRITABLE.search(path) else path
    parts = path.split("/")
    if _UNWRITABLE.search(path):
        return f"{shown} has a character that not every store can keep in a name"
    if path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        return f"{shown or 'an empty path'} is not a path inside the repository"
    if len(parts) < 2:
        return f"{shown} is not in a model's folder"
    if parts[0].startswith("."):
        return f"{shown} is in a hidden folder, which is no model"
    if len(path.encode()) > _LONGEST_BYTES:
        return f"{shown[:60]}… is longer than {_LONGEST_BYTES} bytes"
    return None


def _find_clash(paths: Iterable[str]) -> str | None:
    """Names that some stores and file systems take for one: by case, by Unicode form, or a file that is a folder."""
    spellings: dict[str, str] = {}
    files: set[str] = set()
    for path in paths:
        if path in files:
            return f"{path} is listed twice"
        files.add(path)
        for part in _prefixes(path):
            other = spellings.setdefault(_fold(part), part)
            if other != part:
                return f"{other} and {part} differ only in case or Unicode form; some file systems keep only one"
    folders = {part for path in files for part in _prefixes(path)[:-1]}
    both = sorted(files & folders)
    return f"{both[0]} is both a file and a folder" if both else None


def _prefixes(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
