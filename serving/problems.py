"""What is wrong with a request, up to a number that a person reads."""

from collections.abc import Collection, Sequence

from serving.errors import BadRequest

_SHOWN_CHARACTERS = 60


class Problems:
    """Collects problems, each with its row and its field, and refuses once."""

    most = 20

    def __init__(self) -> None:
        self._found: list[dict[str, object]] = []

    @property
    def full(self) -> bool:
        """Whether more would not be listed."""
        return len(self._found) >= self.most

    def add(self, row: int, field: str, problem: str) -> None:
        """Note one problem; its text never holds a value of the client's."""
        self._found.append({"row": row, "field": field, "problem": problem})

    def add_all(self, row: int, part: str, problems: Sequence[tuple[str, str]]) -> None:
        """Note the problems of one part of a row."""
        for name, problem in problems:
            self.add(row, f"{part}.{name}" if name else part, problem)

    def refuse(self) -> None:
        """Raise what was found.

        Raises
        ------
        BadRequest
            If anything was.
        """
        if self._found:
            first = self._found[0]
            where = f"row {first['row']}" + (f", {first['field']}" if first["field"] else "")
            more = f" (and {len(self._found) - 1} more)" if len(self._found) > 1 else ""
            raise BadRequest(
                f"The request was refused: {where}: {str(first['problem']).rstrip('.')}{more}.",
                self._found[: self.most],
            )


def shown(names: Collection[str]) -> list[str]:
    """Name unknown fields, few and short: their names are the client's text."""
    listed = [name[:_SHOWN_CHARACTERS] for name in sorted(names)[:5]]
    return [*listed, f"and {len(names) - 5} more"] if len(names) > 5 else listed
