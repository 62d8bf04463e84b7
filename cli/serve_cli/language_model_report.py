"""What `serve package` shows of a language model: facts, the engine's arguments, and what each GPU would hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from serve_cli import output

if TYPE_CHECKING:
    from serve_deploy.manifest import GpuFit, LanguageModel


def print_language_model(model: LanguageModel, *, verbose: bool = False) -> None:
    """Three tables, each line with its reason; without `verbose` only the GPUs that fit."""
    facts = [(fact.name, fact.value, output.in_flags(fact.reason)) for fact in model.facts]
    output.print_table(("fact", "value", "reason"), facts)
    arguments = [(each.name, _say(each.value), output.in_flags(each.reason)) for each in model.arguments]
    output.print_table(("argument", "value", "reason"), arguments, title="\nengine arguments")
    fits = [fit for fit in model.fits if verbose or fit.fits]
    if fits:
        columns = ("GPU", "needed", "max_model_len", "tokens of KV cache", "on the fullest GPU")
        output.print_table(columns, [_row(fit) for fit in fits], title="\nwhat each GPU would hold")
    refused = [fit.gpu for fit in model.fits if not fit.fits]
    if refused and not verbose:
        output.stdout().print(f"too small: {', '.join(refused)} (-v says why)", markup=False)
    output.stdout().print(f"not verified: {model.not_verified}", markup=False)


def _row(fit: GpuFit) -> tuple[str, ...]:
    if not fit.fits:
        return fit.gpu, "", "", "", output.in_flags(fit.reason)
    several = f" on {fit.nodes} nodes" if fit.nodes > 1 else ""
    return fit.gpu, f"{fit.gpus}{several}", f"{fit.max_model_len:,}", f"{fit.cache_tokens:,}", fit.reason


def _say(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
