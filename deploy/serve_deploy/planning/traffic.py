"""Which models of a pod get which share of its requests, and the sweep that measured each of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from serve_deploy.autoscaling.capacity import Measured, check_origin
from serve_deploy.autoscaling.pod import ModelTraffic
from serve_deploy.errors import InvalidModelError, UsageError
from serve_deploy.reports.report import LoadTestReport
from serve_deploy.repository.model_folder import ModelFolder, top_level

_LISTED = 5


def read_mix(text: str) -> dict[str, float]:
    """Read `a=3,b=1`; UsageError where a part is no model and its share."""
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (piece.strip() for piece in part.rpartition("="))
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if not (equals and name and math.isfinite(share) and share >= 0) or name in shares:
            raise UsageError(
                f"`mix={text}`: '{part}' is not a model and its share", hint="such as `mix=digits=3,sums=1`"
            )
        shares[name] = share
    if not sum(shares.values()):
        raise UsageError(f"`mix={text}`: no model gets a request")
    return shares


def plan_traffic(
    models: Sequence[ModelFolder], reports: Sequence[LoadTestReport], mix: Mapping[str, float] | None
) -> tuple[ModelTraffic, ...]:
    """Each model that clients call with its share and its sweep; an error where a sweep is missing, or of another."""
    called = top_level(models)
    return share_traffic(called, _by_model(models, called, reports), mix)


def share_traffic(
    called: Sequence[str], measured: Mapping[str, LoadTestReport], mix: Mapping[str, float] | None
) -> tuple[ModelTraffic, ...]:
    """Each of the models that clients call with its share and its sweep."""
    for name in mix or {}:
        if name not in called:
            raise UsageError(f"`mix`: clients do not call {name}", hint=f"they call {', '.join(called)}")
    shares = {name: mix.get(name, 0.0) if mix else 1.0 for name in called}
    missing = [name for name, share in shares.items() if share and name not in measured]
    if missing:
        raise _not_measured(called, measured, missing)
    unused = [name for name in measured if not shares[name]]
    if unused:
        raise UsageError(f"`mix` gives no share to {', '.join(unused)}, which a capacity report measured")
    if len(measured) == 1:
        origin = "the only model" if len(called) == 1 else "`mix`: all the requests"
    else:
        origin = "`mix`" if mix else "assumed: as many for each model; set `mix` to what the clients send"
    total = sum(shares.values())
    return tuple(ModelTraffic(measured[name], share / total, origin) for name, share in shares.items() if share)


def _by_model(
    models: Sequence[ModelFolder], called: Sequence[str], reports: Sequence[LoadTestReport]
) -> dict[str, LoadTestReport]:
    measured: dict[str, LoadTestReport] = {}
    configurations = _configurations(models)
    for report in reports:
        check_origin(report.target, configurations)
        for member in report.target.members:
            known = configurations.get(member.model, ("", None))
            # What Triton completes cannot be told from what it was.
            if known and known[0] is not None:
                check_origin(member, configurations)
        name = report.target.model
        if name not in called:
            raise InvalidModelError(
                f"the capacity report measured {name}, which only ensembles call",
                hint=f"measure what clients call: {', '.join(called)}",
            )
        _add_report(measured, report)
    return measured


def by_model(reports: Sequence[LoadTestReport]) -> dict[str, LoadTestReport]:
    """The reports by the model that each measured; UsageError where two measured the same."""
    measured: dict[str, LoadTestReport] = {}
    for report in reports:
        _add_report(measured, report)
    return measured


def _add_report(measured: dict[str, LoadTestReport], report: LoadTestReport) -> None:
    name = report.target.model
    if name in measured:
        raise UsageError(f"two capacity reports measured {name}", hint="give one report for each model")
    measured[name] = report


def check_planned(models: Sequence[ModelFolder], planned: Sequence[Measured]) -> None:
    """Refuse a plan of other models than those that clients call, or of models that were configured otherwise."""
    for each in planned:
        check_origin(each, _configurations(models), "the plan")
    called, names = top_level(models), {each.model for each in planned}
    for name in called:
        if name not in names:
            raise InvalidModelError(
                f"clients call {name}, and the plan was made without it",
                hint=f"sweep it as well, and plan with both: `mix={called[0]}=1,{name}=1`",
            )


def _configurations(models: Sequence[ModelFolder]) -> dict[str, tuple[str | None, int | None] | None]:
    return {model.name: _configuration(model) for model in models}


def _configuration(model: ModelFolder) -> tuple[str | None, int | None] | None:
    # Triton's vLLM backend writes the tensors into every configuration, which has none of its own.
    if model.config.backend == "vllm" and model.config_sha256 is None:
        return None
    return model.config_sha256, model.instances


def _not_measured(called: Sequence[str], measured: Mapping[str, object], missing: Sequence[str]) -> InvalidModelError:
    rest = f" and {len(missing) - _LISTED} more" if len(missing) > _LISTED else ""
    first, other = next(iter(measured)), missing[0]
    return InvalidModelError(
        f"each pod serves {len(called)} models, and the capacity reports measured {len(measured)} of them;"
        f" not {', '.join(missing[:_LISTED])}{rest}",
        hint=f"measure each alone (serve loadtest URL -m {other} -c 1..64 -o {other}.json), give a report of"
        f" each, and `mix={first}=3,{other}=1` for their shares of the requests; `mix={first}=1` says that {first}"
        " gets them all",
    )
