"""Errors every program of the platform may raise.

* KnownatError
  - ConfigError          a file a person wrote cannot be used as it is; lists every problem at once
  - RepoError            the feature repo, its registry or its tables are not what they should be
  - RowsNotConserved     a join returned other rows than it was given
  - RetrievalTimeout     historical features were not ready within the caller's limit
  - BadKey               an entity key is of another type or shape than its declaration
  - SchemaMismatch       values do not fit the columns the model was trained on
  - TransformFailed      an on-demand view's body raised on the values it was given
  - ReleaseError         a release is unreadable, changed, or not the one deployed
  - LogError             the prediction log cannot be written or read
  - VerdictError         a verdict on disk cannot be read
  - OnlineStoreError     the online store could not do what it was asked
    - StoreUnavailable     it did not answer, or not within its deadline
    - StoreFull            its disk, its map or its memory is full; nothing was written
    - CorruptRow           stored bytes are not a row that was written under this key
    - UnknownSchema        a row names a schema that is not in its store
    - EarlyRows            rows claim a time that has not come; the others were written

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

    def __reduce__(self) -> tuple[object, ...]:
        # An exception is rebuilt from its message alone, which would not survive the way between processes.
        return type(self), (self.source, self.problems)


class RepoError(KnownatError):
    """The feature repo, its registry or its tables are not what they should be."""


class RowsNotConserved(KnownatError):
    """A join returned other rows than it was given."""


class RetrievalTimeout(KnownatError, TimeoutError):
    """Historical features were not ready within the caller's limit."""


class BadKey(KnownatError):
    """An entity key is of another type or shape than its declaration."""


class SchemaMismatch(KnownatError):
    """Values do not fit the columns the model was trained on."""


class TransformFailed(KnownatError):
    """An on-demand view's body raised on the values it was given."""

    def __init__(self, view: str, reason: str, *, from_request: bool) -> None:
        super().__init__(f"On-demand view '{view}' cannot take these values ({reason}).")
        self.view = view
        self.reason = reason
        self.from_request = from_request
        """Whether it reads what a client sent, so that another request may go through."""


class ReleaseError(KnownatError):
    """A release is unreadable, changed, or not the one deployed."""


class LogError(KnownatError):
    """The prediction log cannot be written or read."""


class VerdictError(KnownatError):
    """A verdict on disk cannot be read."""


class OnlineStoreError(KnownatError):
    """The online store could not do what it was asked."""


class StoreUnavailable(OnlineStoreError):
    """The online store did not answer, or not within its deadline."""


class StoreFull(OnlineStoreError):
    """The disk, the map or the memory of the online store is full; nothing was written."""


class CorruptRow(OnlineStoreError):
    """Stored bytes are not a row that was written whole under this key."""


class UnknownSchema(OnlineStoreError):
    """A row names a schema that is not in its store, so it cannot be decoded."""


class EarlyRows(OnlineStoreError):
    """Some rows claim a time that has not come, and were not written; the others were."""

    def __init__(self, view: str, early: int, written: int) -> None:
        super().__init__(
            f"{view}: {early} rows claim a time later than now and would block their entities until then; "
            f"they were not written, the other {written} were. Correct their times, or the writer's clock."
        )
        self.view, self.early, self.written = view, early, written

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.view, self.early, self.written)
