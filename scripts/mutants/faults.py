"""The faults that are planted in a module: cosmic-ray's operators, each mutant once."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider

# One counterpart for each arithmetic operator, and for each comparison its boundary and its opposite: with all of
# cosmic-ray's pairs, most mutants die of a TypeError, which says nothing of the tests.
_COMPARISONS = "Eq_NotEq NotEq_Eq Lt_LtE Lt_GtE LtE_Lt LtE_Gt Gt_GtE Gt_LtE GtE_Gt GtE_Lt Is_IsNot IsNot_Is"
_ARITHMETIC = "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul BitOr_BitAnd BitAnd_BitOr"
_OPERATORS = (
    *(f"ReplaceComparisonOperator_{pair}" for pair in _COMPARISONS.split()),
    *(f"ReplaceBinaryOperator_{pair}" for pair in _ARITHMETIC.split()),
    *("ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_USub_UAdd"),
    *("NumberReplacer", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("AddNot", "ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ExceptionReplacer", "ZeroIterationForLoop"),
)


@dataclass(frozen=True)
class Fault:
    """A mutant: its name, which stays the same when lines move, and the module's text with it."""

    name: str
    code: str


def plant_faults(source: str) -> Iterator[Fault]:
    """Every mutant of a module's text that is another program, types and decorators of classes aside."""
    seen = {None, _meaning(source)}
    provider = OperatorProvider()
    for operator in _OPERATORS:
        for occurrence in count():
            code = mutate_code(source, provider[operator](), occurrence)
            if code is None:
                break
            meaning = _meaning(code)
            if meaning not in seen:
                seen.add(meaning)
                yield Fault(_name(source, code), code)


def _meaning(code: str) -> str | None:
    """The program without what says how to use it; None where the text is none, as with `*` for `**` in a call."""
    try:
        return ast.dump(_WithoutDeclarations().visit(ast.parse(code)))
    except SyntaxError:
        return None


class _WithoutDeclarations(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        node.args = [*node.posonlyargs, *node.args, *node.kwonlyargs]
        node.defaults = [*node.defaults, *(default for default in node.kw_defaults if default)]
        node.posonlyargs, node.kwonlyargs, node.kw_defaults = [], [], []
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.decorator_list = []
        return self.generic_visit(node)


# --- names ----------------------------------------------------------------------------------------------------------


def _name(source: str, code: str) -> str:
    """The function, and its line with the change in place: `compare: if a {< → <=} b:`."""
    old, new = _tokens(source), _tokens(code)
    start = _common_length(old, new)
    end = _common_length(old[start:][::-1], new[start:][::-1])
    at, line = old[start].start, old[start].line
    gone = " ".join(token.string for token in old[start : len(old) - end])
    come = " ".join(token.string for token in new[start : len(new) - end])
    after = old[len(old) - end - 1].end[1] if gone else at[1]
    change = f"{{{gone} → {come}}}" if gone and come else f"{{ → {come}}} " if come else f"{{{gone} → }}"
    first = line.splitlines()[0]
    return f"{_function_at(source, at[0])}: {' '.join((first[: at[1]] + change + first[after:]).split())}"


def _common_length(one: Sequence[tokenize.TokenInfo], other: Sequence[tokenize.TokenInfo]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0].string == pair[1].string, zip(one, other, strict=False)))


def _tokens(code: str) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(code).readline))


def _function_at(source: str, line: int) -> str:
    names: list[str] = []
    body = ast.parse(source).body
    while True:
        named = (node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef))
        inner = next((node for node in named if node.lineno <= line <= (node.end_lineno or line)), None)
        if inner is None:
            return ".".join(names) or "module"
        names.append(inner.name)
        body = inner.body
