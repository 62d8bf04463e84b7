"""The Hugging Face Hub's own client: imported where it is needed, and what it raises as errors of ours."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from serve_deploy.errors import EndpointError, ServeError, UsageError
from serve_deploy.extras import install_command


def require_hub(name: str, *, otherwise: str = "") -> None:
    """Make the client quiet; UsageError where it is not installed, saying what else can be done."""
    try:
        from huggingface_hub.utils.tqdm import disable_progress_bars
    except ImportError:
        raise UsageError(
            f"{name} is not a folder here, and huggingface_hub, which would ask the hub, is not installed",
            hint=f"install it with `{install_command('hub')}`{otherwise and f', or {otherwise}'}",
        ) from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    disable_progress_bars()


@contextmanager
def asking_hub(name: str, *, otherwise: str = "") -> Iterator[None]:
    """Say in a line what keeps the hub from answering for a model: EndpointError, with what to do about it."""
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    also = f", or {otherwise}" if otherwise else ""
    try:
        yield
    except GatedRepoError as error:
        hint = f"accept its terms there and set HF_TOKEN{also}"
        raise EndpointError(f"the hub keeps {name} for those who accepted its terms", hint=hint) from error
    except RepositoryNotFoundError as error:
        hint = f"check the name, set HF_TOKEN{also}" if also else "check the name, or set HF_TOKEN"
        raise EndpointError(f"the hub has no model {name}, or it is private", hint=hint) from error
    except RevisionNotFoundError as error:
        raise EndpointError(f"{name} has no such revision on the hub", hint="name a branch, tag or commit") from error
    except OfflineModeIsEnabled as error:
        hint = f"unset HF_HUB_OFFLINE{also}"
        raise EndpointError(f"HF_HUB_OFFLINE is set, so the hub is not asked for {name}", hint=hint) from error
    except LocalEntryNotFoundError as error:
        raise EndpointError(f"the hub cannot be reached to ask for {name}", hint=otherwise or _RETRY) from error
    except ServeError:
        raise
    except Exception as error:
        raise EndpointError(
            f"the hub {'cannot be reached to ask' if _is_unreachable(error) else 'did not answer'} for {name}:"
            f" {_first_line(error)}",
            hint=otherwise or _RETRY,
        ) from error


_RETRY = "check the network, and HF_ENDPOINT where you have a mirror; or download it elsewhere and give its path"


def _is_unreachable(error: Exception) -> bool:
    # httpx's and requests' classes: which of the two the client uses depends on its version.
    names = {base.__name__ for base in type(error).__mro__}
    return bool(names & {"ConnectError", "ConnectionError", "TimeoutException", "Timeout"})


def _first_line(error: Exception) -> str:
    # The number of a system's error says nothing that its words do not.
    said = re.sub(r"\[Errno -?\d+\] ", "", str(error)).strip()
    return said.splitlines()[0][:200] if said else type(error).__name__
