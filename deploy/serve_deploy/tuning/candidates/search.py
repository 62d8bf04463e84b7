"""Which settings to measure: all combinations where they are few, else those that optuna suggests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product

from serve_deploy.errors import UsageError
from serve_deploy.extras import install_command
from serve_deploy.tuning.candidates.candidate import Value

# So many combinations are measured one and all.
FEW = 12
TRIALS = 16

Choices = Mapping[str, Sequence[Value]]
# The score of a setting, the higher the better; None where it cannot be measured.
Evaluate = Callable[[dict[str, Value]], float | None]


def count_combinations(choices: Choices) -> int:
    """How many settings the choices make."""
    count = 1
    for values in choices.values():
        count *= len(values)
    return count


def search_settings(choices: Choices, evaluate: Evaluate, *, seed: int, trials: int = TRIALS) -> None:
    """Evaluate every combination, or as many as `trials` of a large space; each one once.

    A large space is searched by optuna's tree-structured Parzen estimator; UsageError where optuna is missing.
    """
    if count_combinations(choices) <= FEW:
        for values in product(*choices.values()):
            evaluate(dict(zip(choices, values, strict=True)))
        return
    _search_by_optuna(choices, evaluate, seed=seed, trials=trials)


def require_search(choices: Choices) -> None:
    """UsageError where the choices are so many that optuna is needed and it is not there."""
    if count_combinations(choices) <= FEW:
        return
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"`vary` makes {count_combinations(choices):,} combinations: more than {FEW} are searched with optuna",
            hint=f"name fewer values, or install it: {install_command('tune')}",
        ) from error


def _search_by_optuna(choices: Choices, evaluate: Evaluate, *, seed: int, trials: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    known: dict[tuple[int, ...], float | None] = {}
    # A suggestion that was evaluated before costs nothing, but there must be an end of them.
    for _ in range(10 * trials):
        if len(known) >= min(trials, count_combinations(choices)):
            return
        trial = study.ask()
        picked = tuple(trial.suggest_int(path, 0, len(values) - 1) for path, values in choices.items())
        if picked not in known:
            values = {path: choices[path][index] for path, index in zip(choices, picked, strict=True)}
            known[picked] = evaluate(values)
        score = known[picked]
        state = optuna.trial.TrialState.FAIL if score is None else None
        study.tell(trial, score, state=state)
