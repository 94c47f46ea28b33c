"""On-demand feature views as the release pins them: source text in, a function out.

The source is never run as a module. It is compiled and the one function's code taken out of it, with
Python's builtins as its only globals, so nothing happens on load and a body that leans on a module's
constant or import is refused here instead of failing on the first request.
"""

import ast
import builtins
import dis
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType

from knownat.contract.read_plan import PlanTransform
from knownat.errors import ReleaseError

Columns = Mapping[str, Sequence[object]]
Transform = Callable[[dict[str, list[object]]], Columns]


def load_transform(transform: PlanTransform, source: str) -> Transform:
    """Make a function of pinned source text; it maps lists by argument name to lists by output name.

    Raises
    ------
    ReleaseError
        If the source is not exactly one plain function of that name, or uses names from outside it.
    """
    where = f"On-demand view '{transform.name}' ({transform.file})"
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise ReleaseError(f"{where} is not Python: {error}. Build the release again.") from error
    body = tree.body[0] if len(tree.body) == 1 else None
    if not isinstance(body, ast.FunctionDef) or body.name != transform.function or body.decorator_list:
        raise ReleaseError(
            f"{where} must be the one undecorated function '{transform.function}'. Build the release again."
        )
    if body.args.defaults or body.args.kw_defaults or len(body.args.args) != 1:
        raise ReleaseError(f"{where} must take one argument without a default, the inputs.")
    # Annotations are evaluated when a function is defined; here it never is, so they may name anything.
    module = compile(tree, transform.file, "exec", dont_inherit=True)
    code = next(c for c in module.co_consts if isinstance(c, CodeType) and c.co_name == body.name)
    if foreign := sorted(set(_globals_of(code)) - set(dir(builtins))):
        raise ReleaseError(
            f"{where} uses {foreign} from outside its body. Move imports and constants into the function."
        )
    function: Transform = FunctionType(code, {"__builtins__": builtins}, body.name)
    return function


def run_transform(transform: PlanTransform, function: Transform, columns: Columns) -> dict[str, list[object]]:
    """Run one on-demand view on columns of equal length and return its outputs by full name.

    Raises
    ------
    ReleaseError
        If the outputs are not those the plan promises, or not as long as the inputs.
    """
    inputs = {argument: list(columns[column]) for argument, column in transform.inputs.items()}
    rows = len(next(iter(inputs.values()), ()))
    made = function(inputs)
    wanted = [output.name for output in transform.outputs]
    if missing := [name for name in wanted if name not in made]:
        raise ReleaseError(f"On-demand view '{transform.name}' made no {missing}. Build the release again.")
    outputs = {transform.column(name): list(made[name]) for name in wanted}
    if wrong := [name for name, values in outputs.items() if len(values) != rows]:
        raise ReleaseError(
            f"On-demand view '{transform.name}' made {wrong} of another length than its {rows} rows."
        )
    return outputs


def _globals_of(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)
