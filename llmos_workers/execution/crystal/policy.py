"""What the Python of a generated tool may say: an allow-list over its syntax tree. Pure.

One module is a docstring and one function: parameters of plain types, no defaults, no decorators,
so that defining it runs nothing. Its only way to any effect is ``tools.call("Name", key=value)``,
with the tool's name written out. Whatever is not listed here is refused, also what would be
harmless. The confined process is the boundary; this keeps out what has no business there at all.
"""

from __future__ import annotations

import ast
import keyword
from dataclasses import dataclass

from llmos_workers.contracts.errors import PolicyDenied

MAX_SOURCE = 512_000
"""Characters of a module."""
MAX_NODES = 20_000
MAX_NUMBER = 10**12

PARAMETER_TYPES = frozenset({"str", "int"})
RETURN_TYPES = frozenset({"str"})

_BUILTINS = """
abs all any bool dict enumerate float int len list max min range reversed round set sorted str sum
tuple zip
"""
BUILTINS = frozenset(_BUILTINS.split())
"""Functions that a generated tool may call; the confined process offers no others."""

MODULES = {
    "json": frozenset({"dumps", "loads"}),
    "math": frozenset({"ceil", "floor", "gcd", "isqrt", "sqrt", "trunc"}),
}
"""Pure modules, and what of them may be called."""

BRIDGE = "tools"
ATTRIBUTES = frozenset({"ok", "output", "exit_code", "word"})
"""Of a result of ``tools.call``."""
_METHODS = """
append capitalize count endswith find get isalpha isdigit items join keys lower lstrip partition
removeprefix removesuffix replace rpartition rsplit rstrip split splitlines startswith strip title
upper values zfill
"""
METHODS = frozenset(_METHODS.split())
"""Of texts, lists and dictionaries. No format: its fields reach into objects."""

_PLAIN = (
    # statements
    ast.Assign, ast.AugAssign, ast.Break, ast.Continue, ast.Expr, ast.For, ast.If, ast.Pass,
    ast.Return,
    # expressions
    ast.BinOp, ast.BoolOp, ast.Compare, ast.Dict, ast.DictComp, ast.IfExp, ast.JoinedStr,
    ast.List, ast.ListComp, ast.Set, ast.SetComp, ast.GeneratorExp, ast.Slice, ast.Subscript,
    ast.Tuple, ast.UnaryOp, ast.comprehension,
    # operators
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.And, ast.Or, ast.Not,
    ast.UAdd, ast.USub, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn,
    ast.Is, ast.IsNot, ast.Load, ast.Store,
)  # fmt: skip

RESERVED = BUILTINS | MODULES.keys() | {BRIDGE}
"""Names that keep their meaning."""


@dataclass(frozen=True)
class Checked:
    """A module that keeps the policy."""

    name: str
    """Of its function."""
    parameters: dict[str, str]
    """Name to ``str`` or ``int``, in order."""
    tools: frozenset[str]
    """Every tool that it can call."""
    doc: str


def check_source(source: str) -> Checked:
    """What the module is. Raises PolicyDenied naming the first thing that is not allowed."""
    if len(source) > MAX_SOURCE:
        raise PolicyDenied(f"the source is longer than {MAX_SOURCE:,} characters.")
    try:
        tree = ast.parse(source, mode="exec")
        nodes = list(ast.walk(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise PolicyDenied(f"the source is no Python: {type(error).__name__}.") from None
    if len(nodes) > MAX_NODES:
        raise PolicyDenied(f"the source has more than {MAX_NODES:,} parts.")
    function = _the_function(tree)
    checker = _Checker(function)
    for statement in function.body:
        checker.visit(statement)
    return Checked(
        name=function.name,
        parameters=_parameters(function),
        tools=frozenset(checker.tools),
        doc=ast.get_docstring(function) or "",
    )


def plain_name(name: str) -> bool:
    """Whether something may have this name: ASCII, no keyword, no underscore in front."""
    return (
        name.isascii()
        and name.isidentifier()
        and not name.startswith("_")
        and not keyword.iskeyword(name)
        and not keyword.issoftkeyword(name)
    )


def _refuse(node: ast.AST, what: str) -> PolicyDenied:
    return PolicyDenied(
        f"line {getattr(node, 'lineno', 1)}: {what} is not allowed in a generated tool."
    )


def _the_function(tree: ast.Module) -> ast.FunctionDef:
    """The one function; beside it only a docstring may stand."""
    body = tree.body
    if body and isinstance(body[0], ast.Expr) and _is_text(body[0].value):
        body = body[1:]
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        raise PolicyDenied("a generated tool is one docstring and one function, and nothing else.")
    return body[0]


def _parameters(function: ast.FunctionDef) -> dict[str, str]:
    """Checks everything that runs when the function is defined."""
    arguments = function.args
    if function.decorator_list:
        raise _refuse(function, "a decorator")
    if getattr(function, "type_params", None) or function.type_comment:
        raise _refuse(function, "a type parameter")
    if arguments.args or arguments.posonlyargs or arguments.vararg or arguments.kwarg:
        raise _refuse(function, "a parameter that is not keyword-only")
    if arguments.defaults or any(arguments.kw_defaults):
        raise _refuse(function, "a default")
    if not plain_name(function.name) or function.name in RESERVED:
        raise _refuse(function, f"the name {function.name!r}")
    if not (isinstance(function.returns, ast.Name) and function.returns.id in RETURN_TYPES):
        raise _refuse(function, "another return type than str")
    found = {}
    for argument in arguments.kwonlyargs:
        kind = argument.annotation
        if not (isinstance(kind, ast.Name) and kind.id in PARAMETER_TYPES):
            raise _refuse(argument, f"the type of {argument.arg!r}")
        if not plain_name(argument.arg) or argument.arg in {*RESERVED, function.name}:
            raise _refuse(argument, f"the name {argument.arg!r}")
        found[argument.arg] = kind.id
    return found


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


class _Checker(ast.NodeVisitor):
    """Visits a function's body; everything without a rule of its own must be in _PLAIN."""

    def __init__(self, function: ast.FunctionDef) -> None:
        self._function = function.name
        self._known = {argument.arg for argument in function.args.kwonlyargs}
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self._known.add(node.id)
        self.tools: set[str] = set()

    def generic_visit(self, node: ast.AST) -> None:
        if not isinstance(node, _PLAIN):
            raise _refuse(node, type(node).__name__)
        if isinstance(node, ast.For) and (node.orelse or node.type_comment):
            raise _refuse(node, "for with else")
        if isinstance(node, ast.comprehension) and node.is_async:
            raise _refuse(node, "async")
        super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if not plain_name(node.id):
            raise _refuse(node, f"the name {node.id!r}")
        if isinstance(node.ctx, ast.Store):
            if node.id in RESERVED or node.id == self._function:
                raise _refuse(node, f"another meaning of {node.id!r}")
        elif node.id in RESERVED or node.id == self._function:
            # Only ever called by their names: handed around, nobody could tell what is called.
            raise _refuse(node, f"{node.id!r} as a value")
        elif node.id not in self._known:
            raise _refuse(node, f"the name {node.id!r}")

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if value is None or isinstance(value, bool | str):
            return
        if isinstance(value, int | float) and abs(value) <= MAX_NUMBER:
            return
        raise _refuse(node, f"the constant {str(value)[:20]!r}")

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        if node.conversion != -1 or node.format_spec is not None:
            raise _refuse(node, "a format in an f-string")
        self.visit(node.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Mod) and (_is_text(node.left) or _is_fstring(node.left)):
            raise _refuse(node, "a format with %")
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """Only of results; methods and modules are reached by visit_Call alone."""
        if node.attr not in ATTRIBUTES or not isinstance(node.ctx, ast.Load):
            raise _refuse(node, f"the attribute {node.attr!r}")
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Name):
            if function.id not in BUILTINS:
                raise _refuse(node, f"a call of {function.id!r}")
        elif isinstance(function, ast.Attribute):
            self._method(node, function)
        else:
            raise _refuse(node, "a call of what is no name")
        for argument in node.args:
            self.visit(argument)
        for named in node.keywords:
            if named.arg is None or not plain_name(named.arg):
                raise _refuse(node, f"the argument {named.arg or '**'!r}")
            self.visit(named.value)

    def _method(self, node: ast.Call, function: ast.Attribute) -> None:
        owner, name = function.value, function.attr
        if isinstance(owner, ast.Name) and owner.id == BRIDGE:
            if name != "call":
                raise _refuse(node, f"{BRIDGE}.{name}")
            if len(node.args) != 1 or not _is_text(node.args[0]):
                raise _refuse(node, "a tool whose name is not written out")
            self.tools.add(node.args[0].value)  # type: ignore[attr-defined]
            return
        if isinstance(owner, ast.Name) and owner.id in MODULES:
            if name not in MODULES[owner.id] or node.keywords:
                raise _refuse(node, f"this call of {owner.id}.{name}")
            return
        if name not in METHODS:
            raise _refuse(node, f"the method {name!r}")
        if node.keywords and name not in {"split", "rsplit", "splitlines"}:
            raise _refuse(node, f"a named argument of {name!r}")
        self.visit(owner)


def _is_fstring(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr)
