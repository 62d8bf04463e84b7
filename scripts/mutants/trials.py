"""Try faults: pytest starts once, and each fault gets a fork of it, in which the module is loaded with that fault."""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_loader
from pathlib import Path
from types import CodeType, ModuleType

import pytest
from faults import Fault


@dataclass(frozen=True)
class Module:
    """A module under trial: its file, its import name, and the tests that must notice, as pytest takes them."""

    path: Path
    name: str
    tests: tuple[str, ...]


def try_faults(module: Module, faults: Sequence[Fault], tell: Callable[[Fault, bool], None]) -> bool:
    """Run the tests on each fault, and tell whether they noticed; False where they fail without one.

    Examples of property tests are always the same, and are neither kept nor shrunk. A fault that uses five times the
    processor time is noticed, too.
    """
    options = ["-x", "-q", "-s", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        forks = _Forks(module, faults, tell, folder)
        result = 1
        try:
            result = pytest.main([*options, *module.tests], plugins=[forks])
        finally:
            if forks.is_fork:  # which must not go on as if it were its parent
                forks.report()
                os._exit(result)
    return result == 0


class _Forks:
    """A plugin that forks before anything is collected; only the forks go on with the session."""

    def __init__(
        self, module: Module, faults: Sequence[Fault], tell: Callable[[Fault, bool], None], folder: str
    ) -> None:
        self.module, self.faults, self.tell, self.folder = module, faults, tell, folder
        self.is_fork, self.pipe = False, 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self) -> None:
        from hypothesis import Phase, settings  # pytest does not rewrite a plugin that is imported before it starts

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", deadline=None, derandomize=True, database=None, phases=phases)

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self) -> int | None:
        reading, writing = os.pipe()
        child = self._fork()
        if not child:
            self.pipe = writing
            return None
        os.close(writing)
        with os.fdopen(reading) as pipe:
            libraries = pipe.read()
        _, status, usage = os.wait4(child, 0)
        if status:
            return 1
        for name in json.loads(libraries):  # once for all forks
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        return self._try_all(math.ceil(5 + 5 * (usage.ru_utime + usage.ru_stime)))

    def _try_all(self, most_seconds: int) -> int | None:
        waiting, running = list(reversed(self.faults)), dict[int, Fault]()
        while waiting or running:
            if waiting and len(running) < len(os.sched_getaffinity(0)):
                fault = waiting.pop()
                child = self._fork()
                if not child:
                    self._plant(fault, most_seconds)
                    return None
                running[child] = fault
            else:
                child, status = os.wait()
                self.tell(running.pop(child), status != 0)
        return 0

    def _fork(self) -> int:
        sys.stdout.flush()
        folder = tempfile.mkdtemp(dir=self.folder)
        child = os.fork()
        if child == 0:
            self.is_fork = True
            tempfile.tempdir = folder
        return child

    def report(self) -> None:
        """Tell the parent which libraries the tests need, where it asked."""
        if self.pipe:
            with os.fdopen(self.pipe, "w") as pipe:
                json.dump(_list_libraries(), pipe)

    def _plant(self, fault: Fault, most_seconds: int) -> None:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        resource.setrlimit(resource.RLIMIT_CPU, (most_seconds, most_seconds))
        sys.meta_path.insert(0, _Finder(_Loader(self.module, fault)))


class _Loader(SourceFileLoader):
    """Loads a module's file with the text of a fault."""

    def __init__(self, module: Module, fault: Fault) -> None:
        super().__init__(module.name, str(module.path.resolve()))
        self.fault = fault

    def get_code(self, fullname: str) -> CodeType:
        assert fullname == self.name
        return compile(self.fault.code, self.path, "exec", dont_inherit=True)


class _Finder(MetaPathFinder):
    def __init__(self, loader: _Loader) -> None:
        self.loader = loader

    def find_spec(self, fullname: str, _path: object, _target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_loader(fullname, self.loader) if fullname == self.loader.name else None


def _list_libraries() -> list[str]:
    return [name for name, module in sys.modules.items() if "site-packages" in str(getattr(module, "__file__", ""))]
