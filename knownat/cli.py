"""One command, ``knownat``: finds each program's commands by entry point and loads only the one called.

Exit codes: 0 done, 1 a gate or an alarm spoke, 2 an error.
"""

import ast
import importlib.util
import inspect
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated

import typer

from knownat.errors import KnownatError

GROUP = "knownat.commands"
ERROR = 2
_LINE_THAT_GOES_ON = re.compile(r"(?<!\n)\n(?!\n|[A-Z]\w*(?: code \d)?: )")
# The table `[retraining]` is meant, and no style of that name.
_MARKUP = re.compile(r"\[(?=[a-z])")

_HELP = """Build features, train on what was known, serve, and judge what was served.

The usual order: [bold]features build[/bold], [bold]apply[/bold], [bold]train[/bold],
[bold]materialize[/bold], [bold]serve[/bold], [bold]monitor[/bold]. Each says more with --help;
[bold]doctor[/bold] looks for what can be silently wrong.

Exit codes: 0 done; 1 a gate or an alarm spoke; 2 an error.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    found = {point.name: point for point in entry_points(group=GROUP)}
    called = next((word for word in words if not word.startswith("-")), None)
    try:
        _build(found, called)(args=words, prog_name="knownat")
    except KnownatError as error:
        _fail(str(error))
    except ModuleNotFoundError as error:
        _fail(f"Python package '{error.name}' is not installed. Install the extra of this program, e.g. "
              f"`pip install 'knownat[{_extra_of(found, called)}]'`.")  # fmt: skip
    except BrokenPipeError:
        # The reader of our output went away (`knownat ... | head`); nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _build(found: dict[str, EntryPoint], called: str | None) -> typer.Typer:
    app = typer.Typer(
        help=_HELP, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False
    )
    app.callback()(_configure_logging)
    for name, point in sorted(found.items()):
        command = point.load() if name == called else _named_only(point)
        if isinstance(command, typer.Typer):
            for each in command.registered_commands:
                each.help = _told((each.callback and each.callback.__doc__) or "")
            app.add_typer(command, name=name)
        else:
            app.command(name, help=_told(command.__doc__ or ""))(command)
    return app


def _told(docstring: str) -> str:
    """Let the paragraphs of a docstring flow at any width; a line with a title begins anew."""
    text = _LINE_THAT_GOES_ON.sub(" ", inspect.cleandoc(docstring))
    return _MARKUP.sub(r"\\[", text)


def _configure_logging(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on stderr.")] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


def _named_only(point: EntryPoint) -> Callable[[], None]:
    """Stand in for a command that was not called: its name and its help, none of its imports."""

    def placeholder() -> None:
        raise AssertionError(f"{point.name} was called but not loaded")

    placeholder.__doc__ = _docstring(point)
    return placeholder


def _docstring(point: EntryPoint) -> str:
    spec = importlib.util.find_spec(point.module)
    if spec is None or spec.origin is None:
        return f"(cannot be found: {point.value})"
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == point.attr:
            return (ast.get_docstring(node) or "").split("\n\n")[0]
        if isinstance(node, ast.Assign) and point.attr in {
            t.id for t in node.targets if isinstance(t, ast.Name)
        }:
            return _help_argument(node.value)
    return ""


def _help_argument(value: ast.expr) -> str:
    """Read ``help="..."`` of ``app = typer.Typer(help="...")`` without importing it."""
    for keyword in value.keywords if isinstance(value, ast.Call) else ():
        if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value).split("\n\n")[0]
    return ""


def _extra_of(found: dict[str, EntryPoint], called: str | None) -> str:
    package = found[called].module.split(".")[0] if called in found else "features"
    return package if package in {"training", "serving", "monitoring"} else "features"


def _fail(message: str) -> None:
    sys.stderr.write(f"knownat: {message}\n")
    raise SystemExit(ERROR)
