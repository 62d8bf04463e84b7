"""What `serve package` shows of a language model: facts, the engine's arguments, and what each GPU would hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from serve_cli import output

if TYPE_CHECKING:
    from serve_deploy.manifest import GpuFit, LanguageModel


def print_language_model(model: LanguageModel, *, verbose: bool = False) -> None:
    """Three tables, each line with its reason; `verbose` says why other GPUs do not fit."""
    facts = [(fact.name, fact.value, output.in_flags(fact.reason)) for fact in model.facts]
    output.print_table(("fact", "value", "reason"), facts)
    arguments = [(each.name, _say(each.value), output.in_flags(each.reason)) for each in model.arguments]
    output.print_table(("argument", "value", "reason"), arguments, title="\nengine arguments")
    columns = ("GPU", "needed", "max_model_len", "cached tokens", "weights", "engine", "KV cache")
    rows = [_row(fit) for fit in model.fits if fit.fits]
    output.print_table(columns, rows, title="\nwhat each GPU would hold, in GiB of the fullest")
    refused = [fit for fit in model.fits if not fit.fits]
    if refused and not verbose:
        names = ", ".join(fit.gpu for fit in refused)
        output.stdout().print(f"not on {names} (-v says why)", markup=False)
    for fit in refused if verbose else ():
        output.stdout().print(f"not on {fit.gpu}: {output.in_flags(fit.reason)}", markup=False)
    output.stdout().print(f"not verified: {model.not_verified}", markup=False)


def _row(fit: GpuFit) -> tuple[str, ...]:
    sizes = (f"{size / 2**30:.1f}" for size in (fit.weights_bytes, fit.engine_bytes, fit.cache_bytes))
    several = f" on {fit.nodes} nodes" if fit.nodes > 1 else ""
    return fit.gpu, f"{fit.gpus}{several}", f"{fit.max_model_len:,}", f"{fit.cache_tokens:,}", *sizes


def _say(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
