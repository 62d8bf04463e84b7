"""Make the table of what each release's ONNX Runtime runs, from its wheels: `python scripts/kernel_table`.

Each operator in each version is asked for with every combination of types, in a model of one node, without
optimisations and on the CPU. Takes some 5 minutes on an idle machine, and 2 GB in --folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attribute_probes import choose_pairs, choose_values, find_refusals
from encoding import encode_table, write_table
from environments import Environment, find_pythons, install
from onnx import defs
from probes import Operator, bound_constraints, build_model, combine_types, list_onnx_operators, read_operators

from serve_deploy.kernels import TABLE_PATH
from serve_deploy.releases import Release, list_releases

_MOST_TYPES = 24  # that attributes are tried with
Verdicts = dict[tuple[str, ...], str]


@dataclass(frozen=True)
class Answers:
    """What one ONNX Runtime answers of an operator: a verdict by types, and the attributes that it refuses."""

    operator: Operator
    verdicts: Verdicts
    refuses: list[dict[str, Any]]


def main() -> int:
    """Ask each ONNX Runtime that can be installed, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the wheels are installed")
    parser.add_argument("--pythons", nargs="*", default=find_pythons(), help="Pythons that wheels may be for")
    parser.add_argument("--out", type=Path, default=TABLE_PATH)
    arguments = parser.parse_args()
    releases = {release.onnxruntime_version: release for release in list_releases()}
    answers, missing, own = {}, [], []
    # Newest first: the operators of its own domains that an ONNX Runtime without a listing has are those of the next.
    for version, release in reversed(releases.items()):
        environment = install(version, arguments.folder / version, arguments.pythons)
        if environment is None:
            missing.append(version)
            print(f"{version}: no wheel", file=sys.stderr)
            continue
        own, answers[version] = survey(environment, release, own)
        print(f"{version}: {len(answers[version])} operators", file=sys.stderr)
    table = encode_table(dict(reversed(answers.items())))
    arguments.out.write_text(write_table({**table, "missing": missing}), encoding="utf-8")
    return 0


def survey(
    environment: Environment, release: Release, own: list[Operator]
) -> tuple[list[Operator], dict[str, Answers]]:
    """What one ONNX Runtime answers: for each operator its types, by verdict, and the attributes that it refuses."""
    listed = environment.list_kernels()
    own = own if listed["schemas"] is None else read_operators(listed["schemas"])
    own = [operator for operator in own if operator.domain != "com.ms.internal.nhwc"]
    limits = {"": release.max_opset, "ai.onnx.ml": release.max_ml_opset}
    operators = [o for o in (*list_onnx_operators(), *own) if o.since <= limits.get(o.domain, 1)]
    asked: list[tuple[Operator, dict[str, str]]] = []
    models = []
    for operator in operators:
        for types in combine_types(operator):
            for opset in sorted({operator.since, min(operator.until, limits.get(operator.domain, 1))}):
                model = build_model(operator, types, opset=opset, ir_version=release.max_ir_version)
                asked.append((operator, types))
                models.append(model)
    answers = _ask(environment, models)
    found: dict[str, Verdicts] = {}
    for (operator, types), answer in zip(asked, answers, strict=True):
        verdicts = found.setdefault(operator.key, {})
        key = tuple(types.values())
        verdict = _judge(operator, types, answer, listed["kernels"])
        verdicts[key] = _worse(verdicts.get(key, "yes"), verdict)
    verdicts = {operator.key: _settle(found.get(operator.key, {})) for operator in operators}
    refusals = _refusals(environment, release, operators, verdicts)
    return own, {o.key: Answers(o, verdicts[o.key], refusals.get(o.key, [])) for o in operators}


def _settle(verdicts: Verdicts) -> Verdicts:
    """Decide what a kernel's constructor refused: its types where it takes others, else what the probe left out."""
    settled = "no" if "yes" in verdicts.values() else "yes"
    return {key: settled if verdict == "init" else verdict for key, verdict in verdicts.items()}


def _ask(environment: Environment, models: list[bytes | None]) -> list[str]:
    answers = iter(environment.try_models([model for model in models if model is not None]))
    return [next(answers) if model is not None else "cannot be said" for model in models]


def _worse(one: str, other: str) -> str:
    return next(verdict for verdict in ("no", "unknown", "init", "yes") if verdict in (one, other))


def _judge(operator: Operator, types: dict[str, str], answer: str, kernels: list[Any] | None) -> str:
    if not answer:
        return "yes"
    if "is not a registered" in answer or "MLDataType for" in answer:
        return "no"
    if "Exception during initialization" in answer:
        return "init"
    if "NOT_IMPLEMENTED" in answer:
        return "no"
    if "Type Error" in answer and f"({operator.name})" not in answer and "Graph attribute" not in answer:
        return "no"  # within the function that ONNX defines the operator by
    if kernels is None:
        return "unknown"
    return _look_up(operator, types, kernels)


def _look_up(operator: Operator, types: dict[str, str], kernels: list[Any]) -> str:
    """What the list of kernels says where the probe did not."""
    for domain, name, first, last, constraints in kernels:
        fits = all(types[c] in allowed for c, allowed in constraints.items() if c in types)
        if fits and (domain, name) == (operator.domain, operator.name) and first <= operator.since <= last:
            return "yes"
    if operator.domain.startswith("com.microsoft"):
        return "unknown"
    schema = defs.get_schema(operator.name, operator.since, operator.domain)
    return "unknown" if schema.has_function or schema.has_context_dependent_function else "no"


def _refusals(
    environment: Environment, release: Release, operators: list[Operator], verdicts: Mapping[str, Verdicts]
) -> dict[str, list[dict[str, Any]]]:
    """What attributes each operator refuses with every choice of types that it takes otherwise."""
    types = {o.key: _accepted_types(o, verdicts[o.key]) for o in operators if o.attributes}
    named = {o.key: o for o in operators if types.get(o.key)}

    def ask(probes: list[tuple[str, dict[str, Any], int]]) -> list[str]:
        version = release.max_ir_version
        return _ask(
            environment,
            [
                build_model(named[key], types[key][choice], opset=named[key].since, ir_version=version, given=given)
                for key, given, choice in probes
            ],
        )

    def ask_all(probes: list[tuple[str, dict[str, Any]]]) -> dict[str, dict[Any, str]]:
        answers: dict[str, dict[Any, str]] = {key: {} for key in complete}
        for (key, given), answer in zip(probes, ask([(*probe, 0) for probe in probes]), strict=True):
            answers[key][tuple(given.items())] = answer
        # A number may need certain types beside it; a word needs none.
        refused = [
            (key, given, choice)
            for key, given in probes
            if answers[key][tuple(given.items())] and not isinstance(next(iter(given.values())), str)
            for choice in range(1, len(types[key]))
        ]
        for (key, given, _), answer in zip(refused, ask(refused), strict=True):
            if not answer:
                answers[key][tuple(given.items())] = ""
        return answers

    keys = list(named)
    complete = [key for key, answer in zip(keys, ask([(key, {}, 0) for key in keys]), strict=True) if not answer]
    alone = ask_all([(key, given) for key in complete for given in choose_values(named[key])])
    singles = {key: {item: answer for (item,), answer in answers.items()} for key, answers in alone.items()}
    pairs = ask_all([(key, given) for key in complete for given in choose_pairs(named[key], singles[key])])
    return {key: list(find_refusals(named[key], singles[key], pairs[key])) for key in complete}


def _accepted_types(operator: Operator, verdicts: Verdicts) -> list[dict[str, str]]:
    """Types that it takes: floats first, then those that bring in a type not seen before."""
    accepted = [key for key, verdict in verdicts.items() if verdict == "yes"]
    accepted.sort(key=lambda key: -sum(text == "tensor(float)" for text in key))
    chosen: list[tuple[str, ...]] = []
    for key in accepted:
        if not chosen or set(key) - {text for known in chosen for text in known}:
            chosen.append(key)
    return [dict(zip(bound_constraints(operator), key, strict=True)) for key in chosen[:_MOST_TYPES]]


if __name__ == "__main__":
    sys.exit(main())
