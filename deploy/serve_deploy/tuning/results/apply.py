"""Write the winner into the repository: its lines in config.pbtxt with their reasons, its evidence in the manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serve_deploy.errors import ServeError
from serve_deploy.files.copying import link_tree
from serve_deploy.files.moving import move_all
from serve_deploy.files.staging import destination_errors, folder_lock, staging_folder
from serve_deploy.manifest import MANIFEST_NAME, PROFILE_SETTINGS, FileDigest, Manifest, Tuned
from serve_deploy.model_config.editing import edit_config
from serve_deploy.reports.figures import format_change
from serve_deploy.repository.model_folder import ModelFolder
from serve_deploy.repository.model_repository import digest_files
from serve_deploy.tuning.candidates.candidate import (
    ACCELERATOR,
    BATCH,
    DELAY,
    INSTANCES,
    PREFERRED,
    THREADS,
    Candidate,
    split_path,
)
from serve_deploy.tuning.results.result import Confirmation, FieldChange, TuningResult
from serve_deploy.tuning.results.tables import describe_load
from serve_deploy.tuning.task.subject import Subject, stamp

# The options of `package` that set a field, so that the model's next version keeps what was tuned.
_SETTINGS = {
    BATCH: "max_batch_size",
    DELAY: "max_queue_delay_us",
    PREFERRED: "preferred_batch_sizes",
    INSTANCES: "instances",
    THREADS: "threads",
}
_ACCELERATORS = "optimization.execution_accelerators"


def apply_winner(result: TuningResult, subject: Subject) -> TuningResult:
    """Write the winner, if there is one; a note says what kept it from being written, or what it lacks."""
    if result.winner is None or result.confirmation is None:
        return result
    winner = Candidate.of(result.winner.values)
    try:
        notes = _write(_Evidence(result, result.confirmation), subject, winner)
    except ServeError as error:
        return result.model_copy(update={"notes": (*result.notes, f"not written: {error.message}")})
    return result.model_copy(update={"notes": (*result.notes, *notes), "applied": True})


def _write(evidence: _Evidence, subject: Subject, winner: Candidate) -> tuple[str, ...]:
    """Stage every model that changes, then swap in all of them or none."""
    configs, folders = subject.configs(winner), subject.folders
    changed = [folders[name] for name, config in configs.items() if config != folders[name].config]
    repository = subject.parts[0].folder.path.parent
    with staging_folder(repository, beside=True) as staging, folder_lock(repository):
        for folder in changed:
            if stamp(folder) != subject.stamps.get(folder.name):
                raise ServeError(f"{folder.path} changed during this run")
            _stage(folder, configs[folder.name], staging / folder.name, evidence.of_model(folder.name))
        move_all([(staging / folder.name, folder.path, True) for folder in changed])
    return tuple(
        f"{folder.name} has no {MANIFEST_NAME}: the evidence stands in {folder.config_path} only"
        for folder in changed
        if folder.manifest is None
    )


def _stage(folder: ModelFolder, config: Any, staged: Path, evidence: _Evidence) -> None:
    with destination_errors(folder.path):
        staged.mkdir()
        for entry in sorted(folder.path.iterdir()):
            if entry.name != MANIFEST_NAME:
                link_tree(entry, staged / entry.name)
        text = edit_config(folder.config_text or "", config, evidence.comments())
        # A link shares its content with the file that is still served.
        (staged / folder.config_path).unlink(missing_ok=True)
        (staged / folder.config_path).write_text(text, encoding="utf-8")
        if folder.manifest is not None:
            digests = {file.path: file for file in digest_files(staged) if file.path == folder.config_path}
            manifest = _with_evidence(folder.manifest, evidence.tuned(), digests, folder.named_as)
            (staged / MANIFEST_NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _with_evidence(manifest: Manifest, evidence: Tuned, digests: Mapping[str, FileDigest], name: str) -> Manifest:
    """The manifest with what was found, for the configuration of that name, or for config.pbtxt."""
    kept = {_SETTINGS[path]: value for path, value in evidence.after.items() if path in _SETTINGS and value is not None}
    files = tuple(digests.get(file.path, file) for file in manifest.files)
    if not name:
        settings = {**manifest.settings, **kept}
        return manifest.model_copy(update={"files": files, "settings": settings, "tuned": evidence})
    of_all = manifest.settings.get(PROFILE_SETTINGS, {})
    settings = {**manifest.settings, PROFILE_SETTINGS: {**of_all, name: {**of_all.get(name, {}), **kept}}}
    profiles = tuple(each.tuned_to(evidence, kept) if each.profile == name else each for each in manifest.profiles)
    return manifest.model_copy(update={"files": files, "settings": settings, "profiles": profiles})


@dataclass(frozen=True)
class _Evidence:
    """What was changed and measured; `changes` are those of one model, by paths without it."""

    result: TuningResult
    confirmed: Confirmation
    changes: tuple[FieldChange, ...] = ()

    def of_model(self, name: str) -> _Evidence:
        own = [(split_path(change.path), change) for change in self.result.changes]
        changes = (change.model_copy(update={"path": path}) for (model, path), change in own if model in ("", name))
        return replace(self, changes=tuple(changes))

    def comments(self) -> dict[str, str]:
        """The comment beside each changed line, by its path as `format_config` knows it."""
        gain = f"; {self.result.objective} {format_change(self.confirmed.gain)} in all"
        return {_line_path(change.path): f"{change.reason}{gain}" for change in self.changes}

    def tuned(self) -> Tuned:
        """For the manifest."""
        result, confirmed = self.result, self.confirmed
        return Tuned(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            called=result.model,
            objective=result.objective,
            gates=result.gates,
            server=result.server,
            before={change.path: change.before for change in self.changes},
            after={change.path: change.after for change in self.changes},
            load=describe_load(confirmed.winner),
            gain=confirmed.gain,
            throughput_before=confirmed.baseline.throughput,
            throughput=confirmed.winner.throughput,
            p99_us_before=confirmed.baseline.p99_us,
            p99_us=confirmed.winner.p99_us,
            tool_version=result.tool_version,
        )


def _line_path(path: str) -> str:
    if path == ACCELERATOR:
        return _ACCELERATORS
    first, _, name = path.partition(".")
    return f"parameters[{name}]" if first == "parameters" else path
