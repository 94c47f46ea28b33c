"""Errors every program of the platform may raise.

* KnownatError
  - ConfigError          a file a person wrote cannot be used as it is; lists every problem at once
  - RepoError            the feature repo, its registry or its tables are not what they should be
  - RowsNotConserved     a join returned other rows than it was given
  - BadKey               an entity key is of another type or shape than its declaration
  - SchemaMismatch       values do not fit the columns the model was trained on
  - ReleaseError         a release is unreadable, changed, or not the one deployed
  - LogError             the prediction log cannot be written or read

Every message says what is wrong, where, and what to do next.
"""

from collections.abc import Sequence


class KnownatError(Exception):
    """Base of every error a caller may want to catch."""


class ConfigError(KnownatError):
    """A file that a person wrote cannot be used as it is."""

    def __init__(self, source: object, problems: Sequence[str]) -> None:
        super().__init__(f"{source}:\n" + "\n".join(f"- {problem}" for problem in problems))
        self.source = source
        self.problems = tuple(problems)


class RepoError(KnownatError):
    """The feature repo, its registry or its tables are not what they should be."""


class RowsNotConserved(KnownatError):
    """A join returned other rows than it was given."""


class BadKey(KnownatError):
    """An entity key is of another type or shape than its declaration."""


class SchemaMismatch(KnownatError):
    """Values do not fit the columns the model was trained on."""


class ReleaseError(KnownatError):
    """A release is unreadable, changed, or not the one deployed."""


class LogError(KnownatError):
    """The prediction log cannot be written or read."""
