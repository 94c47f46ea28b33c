"""On-demand feature views as the release pins them: source text in, a function out.

The source is never run as a module. It is compiled and the one function's code taken out of it, with
Python's builtins as its only globals, so nothing happens on load and a body that leans on a module's
constant or import is refused here instead of failing on the first request.
"""

import ast
import builtins
import dis
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType

from knownat.contract.read_plan import PlanTransform
from knownat.errors import ReleaseError, TransformFailed

Columns = Mapping[str, Sequence[object]]
Function = Callable[[dict[str, list[object]]], Columns]

# What a body raises because of the values it meets; the rest is a fault of the process.
_BY_VALUES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class Transform:
    """One on-demand view, ready to run on lists of equal length."""

    plan: PlanTransform
    function: Function
    reads: tuple[tuple[str, str], ...]
    """The arguments that the body reads, each with its column."""
    from_request: bool
    """Whether one of them is what a client sends."""

    def call(self, inputs: dict[str, list[object]]) -> Columns:
        """Run the body.

        Raises
        ------
        TransformFailed
            If it raises; the message names the kind of error and none of the values.
        """
        try:
            return self.function(inputs)
        except _BY_VALUES as error:
            raise TransformFailed(
                self.plan.name, type(error).__name__, from_request=self.from_request
            ) from error


def load_transform(
    transform: PlanTransform, source: str, *, client_inputs: Collection[str] = ()
) -> Transform:
    """Make a function of pinned source text; it maps lists by argument name to lists by output name.

    ``client_inputs`` are the columns that come with a request.

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
    function: Function = FunctionType(code, {"__builtins__": builtins}, body.name)
    read = _arguments_read(body, transform)
    reads = tuple((argument, column) for argument, column in transform.inputs.items() if argument in read)
    return Transform(transform, function, reads, any(column in client_inputs for _, column in reads))


def run_transform(loaded: Transform, columns: Columns) -> dict[str, list[object]]:
    """Run one on-demand view on columns of equal length and return its outputs by full name.

    Raises
    ------
    TransformFailed
        If the body raises on these values.
    ReleaseError
        If the outputs are not those the plan promises, or not as long as the inputs.
    """
    transform = loaded.plan
    rows = len(columns[next(iter(transform.inputs.values()))]) if transform.inputs else 0
    made = loaded.call({argument: list(columns[column]) for argument, column in loaded.reads})
    wanted = [output.name for output in transform.outputs]
    if missing := [name for name in wanted if name not in made]:
        raise ReleaseError(f"On-demand view '{transform.name}' made no {missing}. Build the release again.")
    outputs = {transform.column(name): list(made[name]) for name in wanted}
    if wrong := [name for name, values in outputs.items() if len(values) != rows]:
        raise ReleaseError(
            f"On-demand view '{transform.name}' made {wrong} of another length than its {rows} rows."
        )
    return outputs


def _arguments_read(body: ast.FunctionDef, transform: PlanTransform) -> Collection[str]:
    """Find the arguments a body reads: all of them, unless it only ever says ``inputs["name"]``.

    Feast gives each stored value under two names; building the lists that nobody reads would cost as
    much as the rest of a wide view.
    """
    name = body.args.args[0].arg
    said = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(body))
    read = [found for node in ast.walk(body) if (found := _named_read(node, name)) is not None]
    return set(read) if len(read) == said else transform.inputs.keys()


def _named_read(node: ast.AST, name: str) -> str | None:
    match node:
        case ast.Subscript(value=ast.Name(id=found), slice=ast.Constant(value=str(argument)), ctx=ast.Load()):
            return argument if found == name else None
    return None


def _globals_of(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in {"LOAD_GLOBAL", "LOAD_NAME"}:
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)
