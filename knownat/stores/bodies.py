"""The body of an on-demand view as source that stands alone.

Feast stores the source with its decorator, which is a NameError wherever the repo's imports are
not; a body that leans on its module applies fine and dies when it is served. What a release
carries is the function alone, proved to need nothing but its arguments.
"""

import ast
import builtins
import symtable
from dataclasses import dataclass


@dataclass(frozen=True)
class Body:
    """A function that needs nothing but its arguments and its own imports."""

    function: str
    source: str


def stand_alone(view: str, source: str) -> tuple[Body | None, list[str]]:
    r"""Strip a body's decorators and say what it would miss without its module.

    >>> body, problems = stand_alone("v", "@odfv\ndef f(x):\n    return {'y': RATE}\n")
    >>> problems
    ["on-demand view 'v' uses 'RATE' from outside its body; define or import it in the function"]
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        return None, [f"on-demand view '{view}' has no readable source: {error}"]
    function = tree.body[0] if len(tree.body) == 1 else None
    if not isinstance(function, ast.FunctionDef):
        return None, [f"on-demand view '{view}' must be one decorated function"]
    arguments = function.args
    if len(arguments.args) != 1 or arguments.defaults or arguments.kwonlyargs:
        return None, [f"on-demand view '{view}' must take one argument without a default, its inputs"]
    lines = source.splitlines()[function.lineno - 1 : function.end_lineno]
    text = "\n".join(lines) + "\n"
    problems = [
        f"on-demand view '{view}' uses '{name}' from outside its body; define or import it in the function"
        for name in sorted(_outside_names(text))
    ]
    return Body(function.name, text), problems


def _outside_names(text: str) -> set[str]:
    # Annotations and the like belong to the module's scope; nothing runs that when it is served.
    scopes = symtable.symtable(text, "body.py", "exec").get_children()
    return set[str]().union(*(_globals_of(scope) for scope in scopes)) - set(dir(builtins))


def _globals_of(scope: symtable.SymbolTable) -> set[str]:
    mine = {s.get_name() for s in scope.get_symbols() if s.is_global() and s.is_referenced()}
    return mine.union(*(_globals_of(child) for child in scope.get_children()))
