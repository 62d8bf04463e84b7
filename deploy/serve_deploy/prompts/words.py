"""Words to make texts of known lengths of: each is one token wherever it stands."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from serve_deploy.errors import UsageError
from serve_deploy.prompts.tokenizer import Tokenizer

_MOST_WORDS = 4096
_FEWEST_WORDS = 32
_FEWEST_LETTERS = 2
_LONGEST_WORD = 12
_SPACES = " Ġ▁"  # how vocabularies spell a space
_SPACE = re.compile(f"[{_SPACES}]")
_OPENINGS = 1_000_000
_MOST_GLUED = 64  # letters without spaces between them: few enough to meet all pairs in a trial
_TRIALS = 24
_TRIED_LENGTHS = (*range(1, 65), *[512] * 16, *[16384] * 4)
_COMMON = """
    about above across after again against ago air all almost along also always among animal another answer any around
    ask away back base be because become been before began begin being below best better between big black blue boat
    body book both box boy bring brought build built but by call came can car care carry cause center certain change
    check children city class clear close cold color come common complete could country course cover cross cut dark day
    deep did different do does dog done door down draw dry during each early earth ease east eat end enough even ever
    every example eye face fact fall family far farm fast father feel feet few field figure fill final find fine fire
    first fish five fly follow food foot for force form found four free friend from front full game gave get girl give
    go gold good got govern great green ground group grow had half hand happen hard has have he head hear heat help her
    here high him his hold home horse hot hour house how idea if in inch interest is island it just keep kind king knew
    know land language large last late laugh lead learn leave left less let letter life light like line list listen
    little live long look lot love low machine made main make man many map mark may mean measure men might mile mind
    minute money month moon more morning most mother mountain move much music must name near need never new next night
    north note nothing notice now number of off often oh old on once one only open or order other our out over own page
    paper part pass pattern people perhaps person picture piece place plain plan plant play point port pose possible
    power present press problem produce product pull put question quick rain ran reach read ready real red rest right
    river road rock room round rule run said same saw say school science sea second see seem self sentence serve set
    several shape she ship short should show side simple since sing size sleep slow small snow so some song soon sound
    south space special spell stand star start state stay step still stop story street strong study such sun sure
    surface table tail take talk teach tell ten test than that the their them then there these they thing think this
    those though thought thousand three through time to together told too took top toward town travel tree true try
    turn two under unit until up us use usual very voice wait walk want war warm was watch water way we week well went
    were west what wheel when where which while white who whole why will wind with without wonder wood word work world
    would write year yes yet you young your
"""


@dataclass(frozen=True)
class Words:
    """Texts of `n` words, joined by `separator`, are `n` tokens; about as many where `exact` is False."""

    words: tuple[str, ...]
    separator: str
    exact: bool

    def draw(self, generator: np.random.Generator, count: int) -> list[int]:
        """The numbers of `count` random words."""
        numbers: list[int] = generator.integers(len(self.words), size=count).tolist()
        return numbers

    def opening(self, index: int) -> list[int]:
        """The numbers of a few words that no other index below a million has: no two texts begin alike."""
        size, numbers = len(self.words), []
        for power in range(math.ceil(math.log(_OPENINGS, size))):
            numbers.append(index // size**power % size)
        return numbers

    def text(self, numbers: Iterable[int]) -> str:
        """The words of these numbers, as one text."""
        return self.separator.join(map(self.words.__getitem__, numbers))


def common_words() -> Words:
    """Common English words, each of which is one token for nearly every model."""
    return Words(tuple(_COMMON.split()), " ", exact=False)


def find_words(tokenizer: Tokenizer) -> Words:
    """Words that are one token each, at the start and after each other; tried on texts of every length.

    UsageError where the vocabulary has too few, so that no length can be hit exactly.
    """
    vocabulary = tokenizer.vocabulary()
    texts = dict.fromkeys(text.strip() for text in vocabulary.values())
    letters = [text for text in texts if text.isalpha() and len(text) <= _LONGEST_WORD]
    # A token such as "of the" would swallow the words on both sides of its space.
    before_spaces = tuple({part for token in vocabulary for part in _SPACE.split(token.strip(_SPACES))[:-1] if part})
    apart = [text for text in letters if not text.endswith(before_spaces)] if before_spaces else letters
    plain = [text for text in apart if text.isascii() and text.islower() and len(text) >= _FEWEST_LETTERS]
    glued = [text for text in letters if len(text) == 1][:_MOST_GLUED]
    for candidates, separator in ((plain, " "), (apart, " "), (glued, "")):
        words = _keep_exact(tokenizer, candidates, separator)
        if len(words) >= _FEWEST_WORDS:
            return Words(words, separator, exact=True)
    raise UsageError(
        f"`tokenizer={tokenizer.path}` has too few words that are one token each to make prompts of exact lengths",
        hint="leave out `tokenizer`: lengths are approximate then; or send the `prompts` of a file",
    )


def _keep_exact(tokenizer: Tokenizer, candidates: Sequence[str], separator: str) -> tuple[str, ...]:
    """Those of the candidates that were one token each wherever they stood in random texts."""
    thrice = tokenizer.encode([separator.join([word] * 3) for word in candidates])
    tokens = {word: ids for word, ids in zip(candidates, thrice, strict=True) if len(ids) == 3}
    kept = list(tokens)[:: max(-(-len(tokens) // _MOST_WORDS), 1)]
    generator = np.random.default_rng(0)
    for _ in range(_TRIALS):
        if len(kept) < _FEWEST_WORDS:
            break
        drawn = [[kept[i] for i in generator.integers(len(kept), size=size)] for size in _TRIED_LENGTHS]
        found = tokenizer.encode([separator.join(text) for text in drawn])
        wrong = {_first_wrong(text, ids, tokens) for text, ids in zip(drawn, found, strict=True)} - {None}
        if not wrong:
            return tuple(kept)
        kept = [word for word in kept if word not in wrong]
    return ()


def _first_wrong(text: Sequence[str], ids: Sequence[int], tokens: Mapping[str, Sequence[int]]) -> str | None:
    """The first word that is not the one token it should be, or stands before something that should not be there."""
    expected = [tokens[word][min(place, 1)] for place, word in enumerate(text)]
    wrong = (word for word, wanted, found in zip_longest(text, expected, ids) if wanted != found)
    return next(wrong, None) or (text[-1] if len(ids) > len(text) else None)
