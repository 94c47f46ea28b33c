"""Find features by words: names first, then what is said of them; and a word that was perhaps meant."""

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from knownat.stores.catalogue import Catalogue, FeatureEntry, ViewEntry, is_private

_WORD = re.compile(r"[^\W_]+")
# How much a word tells where it stands: whole, as a beginning, as a part.
_NAME, _VIEW, _LABELS, _DESCRIPTION, _OWNER = (
    (8.0, 6.0, 4.0),
    (5.0, 4.0, 2.0),
    (4.0, 3.0, 0.0),
    (3.0, 2.0, 0.0),
    (3.0, 2.0, 1.0),
)
_SHORTEST_PART = 3


@dataclass(frozen=True)
class Hit:
    """A feature that answers the words, the best first."""

    feature: FeatureEntry
    view: ViewEntry
    score: float


@dataclass(frozen=True)
class Results:
    """What was found; where nothing was, words that were perhaps meant."""

    hits: tuple[Hit, ...]
    did_you_mean: tuple[str, ...] = ()


def search(catalogue: Catalogue, words: str, *, limit: int = 20) -> Results:
    """Find the features in which every word stands somewhere.

    A word counts most in a feature's own name, then in its view's, in unit, window, entities and tags,
    in descriptions and in owners. Of equals, what more models build on comes first.
    """
    terms = _WORD.findall(words.lower())
    if not terms:
        return Results(())
    hits = [
        Hit(feature, view, score)
        for view in catalogue.views
        for feature in view.features
        if (score := _score(feature, view, terms, words.strip().lower()))
    ]
    hits.sort(key=lambda hit: (-hit.score, -len(hit.view.users_of(hit.feature.name)), hit.feature.reference))
    return Results(tuple(hits[:limit]), () if hits else tuple(_meant(catalogue, terms)))


def _score(feature: FeatureEntry, view: ViewEntry, terms: Sequence[str], whole: str) -> float:
    labels = " ".join(
        [
            feature.unit or "",
            feature.window or "",
            *view.entities,
            *view.keys,
            *feature.tags.values(),
            *view.tags.values(),
        ]
    )
    fields = (
        (feature.name, _NAME),
        (view.name, _VIEW),
        (labels, _LABELS),
        (f"{feature.description} {view.description} {' '.join(view.entities.values())}", _DESCRIPTION),
        (view.owner, _OWNER),
    )
    scores = [max(_worth(term, text.lower(), weights) for text, weights in fields) for term in terms]
    if not all(scores):
        return 0.0
    exact = 100.0 * (whole in (feature.name, feature.reference, feature.column))
    # Nobody else can build on what is private.
    return exact + sum(scores) - 0.5 * is_private(view)


def _worth(term: str, text: str, weights: tuple[float, float, float]) -> float:
    whole, beginning, part = weights
    words = _WORD.findall(text)
    stem = term.removesuffix("s")
    if any(word == term or word.removesuffix("s") == stem for word in words):
        return whole
    if any(word.startswith(term) for word in words):
        return beginning
    return part if len(term) >= _SHORTEST_PART and term in text else 0.0


def _meant(catalogue: Catalogue, terms: Sequence[str]) -> Iterator[str]:
    known = sorted({word for word in _vocabulary(catalogue) if len(word) >= _SHORTEST_PART})
    for term in terms:
        if term not in known:
            yield from difflib.get_close_matches(term, known, n=3, cutoff=0.7)


def _vocabulary(catalogue: Catalogue) -> Iterator[str]:
    for view in catalogue.views:
        yield from _WORD.findall(f"{view.name} {view.description} {view.owner}".lower())
        for feature in view.features:
            yield from _WORD.findall(f"{feature.name} {feature.description}".lower())
