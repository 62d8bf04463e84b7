"""Whether a point says something about the server, or about the generator itself. Pure."""

from __future__ import annotations

SLIP_BUDGET_US = 1000.0
_SLIP_SHARE = 0.1
_BUSY = 0.85
_STARVED = 0.9
_LITTLE_SHARE = 0.1
# With fewer requests, a 99th percentile is the slowest one, and the start and the end weigh too much.
_FEWEST_REQUESTS = 100


def client_bound_reasons(
    *,
    requests: int,
    cpu_fraction: float,
    starved_fraction: float,
    slip_p99_us: float,
    response_p99_us: float,
    concurrency: int | None,
    mean_in_flight: float,
    ran_out_of_connections: bool,
) -> tuple[str, ...]:
    """Why the generator was the limit; empty where it was not. Fractions are of one core, of its busiest process."""
    reasons = []
    if cpu_fraction > _BUSY:
        reasons.append(f"the generator used {cpu_fraction:.0%} of a core; give it more with --processes")
    elif cpu_fraction + starved_fraction > _STARVED:
        reasons.append(
            f"the generator waited for a core {starved_fraction:.0%} of the time; run it on a machine of its own"
        )
    budget_us = max(SLIP_BUDGET_US, _SLIP_SHARE * response_p99_us)
    if requests >= _FEWEST_REQUESTS and slip_p99_us > budget_us:
        reasons.append(
            f"1 % of the requests left {slip_p99_us / 1e3:.1f} ms late or more ({budget_us / 1e3:.1f} allowed)"
        )
    enough = concurrency and requests >= concurrency * _FEWEST_REQUESTS
    if concurrency and enough and mean_in_flight < concurrency * (1 - _LITTLE_SHARE):
        reasons.append(
            f"only {mean_in_flight:.1f} of {concurrency} requests were in flight (rate × latency, by Little's law)"
        )
    if ran_out_of_connections:
        reasons.append("all connections were in use and requests waited for one; allow more with --connections")
    return tuple(reasons)
