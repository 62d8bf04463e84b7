"""The faults that are planted in a module: cosmic-ray's operators, each mutant once."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, takewhile

import parso
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider
from parso.tree import Leaf

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
    leaves, seen = _read_leaves(source), {None, _meaning(source)}
    provider = OperatorProvider()
    for operator in _OPERATORS:
        for occurrence in count():
            code = mutate_code(source, provider[operator](), occurrence)
            if code is None:
                break
            meaning = _meaning(code)
            if meaning not in seen:
                seen.add(meaning)
                yield Fault(_name(source, leaves, code), code)


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


def _name(source: str, old: Sequence[Leaf], code: str) -> str:
    """The function, and its line with the change in place: `compare: if a {< → <=} b:`."""
    new = _read_leaves(code)
    start = _common_length(old, new)
    end = _common_length(old[start:][::-1], new[start:][::-1])
    gone, come = old[start : len(old) - end], new[start : len(new) - end]
    line, column = old[start].start_pos
    after = gone[-1].end_pos[1] if gone else column
    words = [" ".join(leaf.value for leaf in leaves) for leaves in (gone, come)]
    change = f"{{{words[0]} → {words[1]}}}{'' if gone else ' '}"
    text = source.splitlines()[line - 1]
    return f"{_function_at(source, line)}: {' '.join((text[:column] + change + text[after:]).split())}"


def _common_length(one: Sequence[Leaf], other: Sequence[Leaf]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0].value == pair[1].value, zip(one, other, strict=False)))


def _read_leaves(code: str) -> list[Leaf]:
    """The tokens, which Python's own tokenizer tells apart in an f-string only from 3.12 on."""
    leaf, leaves = parso.parse(code).get_first_leaf(), []
    while leaf is not None:
        leaves.append(leaf)
        leaf = leaf.get_next_leaf()
    return leaves


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
