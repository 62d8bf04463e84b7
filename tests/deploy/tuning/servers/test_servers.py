"""The copies that servers of our own run on."""

from __future__ import annotations

from pathlib import Path

from timed_models import add_timed_model

from serve_deploy.repository.model_folder import read_model_folder
from serve_deploy.tuning.servers.remote import _is_served
from serve_deploy.tuning.servers.servers import local_servers


def test_a_batch_size_that_the_model_sets_itself_is_not_the_candidates() -> None:
    """A model's code may complete a configuration that leaves its tensors out, and overwrite what was asked for."""
    served = {"max_batch_size": 4, "instance_group": [{"count": 1}]}
    assert _is_served({"max_batch_size": 4}, served)
    assert not _is_served({"max_batch_size": 16}, served)


def test_what_links_lead_to_is_in_the_copies(tmp_path: Path) -> None:
    """A link out of the model's folder leads elsewhere from the place of a copy."""
    model = add_timed_model(tmp_path / "models", base=0.001, row=0.001) / "1" / "model.py"
    model.rename(tmp_path / "shared.py")
    model.symlink_to("../../../shared.py")
    folder = read_model_folder(tmp_path / "models" / "timed")
    with local_servers({"timed": folder}, None, None) as servers:
        servers._lay_out(servers.staging / "1", folder, folder.config)
        copy = servers.staging / "1" / "timed" / "1" / "model.py"
        assert (copy.is_symlink(), copy.read_text()) == (False, (tmp_path / "shared.py").read_text())
