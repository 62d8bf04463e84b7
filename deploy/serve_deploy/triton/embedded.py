"""The real tritonserver that the nvidia-pytriton package carries, with our onnxruntime backend beside it."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import re
import shutil
import sys
import sysconfig
from pathlib import Path

from serve_deploy.onnx.string_locale import provide_locale
from serve_deploy.triton.limits import check_limits
from serve_deploy.triton.options import RuntimeName, ServerOptions
from serve_deploy.triton.runtime import Launch, Ports, server_arguments
from serve_deploy.triton.staging import check_model_names, stage_repository

_BACKENDS = Path(__file__).parent / "backends"
# A load mostly waits: the Python backend takes a second to end the process that completed or refused a model.
_LOAD_THREADS = 8
_STUB = "triton_python_backend_stub"
# The stub imports this module first, with the working directory first on its path: the user's own random.py there
# would stand in for Python's.
_UTILITIES = "triton_python_backend_utils.py"
_LEAVE_WORKING_DIRECTORY = "import sys; sys.path[:] = filter(None, sys.path)"


class EmbeddedRuntime:
    """tritonserver of nvidia-pytriton, run on this Python; its Python models and its metrics can use a GPU."""

    name: RuntimeName = "embedded"

    def __init__(self, gpu_driver: Path = Path("/dev/nvidiactl")) -> None:
        # Without a driver, asking for a GPU's metrics only fills the log with errors.
        self._gpu_driver = gpu_driver

    def why_unavailable(self) -> str | None:
        """Say what is missing, if anything."""
        root = _package_root()
        if root is None:
            return "nvidia-pytriton is not installed"
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        if not _stub(root).exists():
            return f"nvidia-pytriton has no stub for Python {version}"
        if _python_library() is None:
            return f"libpython{version}.so was not found; on Debian: apt-get install libpython{version}"
        return None

    def prepare(self, options: ServerOptions, ports: Ports, server_id: str, folder: Path) -> Launch:
        """Lay out the backend directory in `folder`."""
        root = _package_root()
        if root is None:
            raise FileNotFoundError("nvidia-pytriton")
        backends = folder / "backends"
        _lay_out_backends(root, backends)
        check_limits()
        check_model_names(options.repository, options.models or (() if options.explicit else ("*",)))
        repository = stage_repository(options.repository, folder)
        command = (
            str(root / "tritonserver" / "bin" / "tritonserver"),
            f"--backend-directory={backends}",
            f"--cache-directory={root / 'tritonserver' / 'caches'}",
            name_regions(server_id),
            f"--model-load-thread-count={_LOAD_THREADS}",
            f"--allow-gpu-metrics={str(self._gpu_driver.exists()).lower()}",
            # Last, so that what the user asks for holds.
            *server_arguments(options, ports, server_id, repository=str(repository.path)),
        )
        environment = _environment(root) | _backend_settings(options.extra_arguments)
        return Launch(command, environment, repository=repository)


def shared_memory_prefix(server_id: str) -> str:
    """How the names of the server's regions in /dev/shm begin, so that a killed server's can be found."""
    return f"serve-{server_id}-"


def name_regions(server_id: str) -> str:
    """The argument that makes Triton name its regions so."""
    return f"--backend-config=python,shm-region-prefix-name={shared_memory_prefix(server_id)}"


def _package_root() -> Path | None:
    # find_spec reads no code of the package, whose import costs a second.
    spec = importlib.util.find_spec("pytriton")
    if spec is None or not spec.submodule_search_locations:
        return None
    root = Path(spec.submodule_search_locations[0])
    return root if (root / "tritonserver" / "bin" / "tritonserver").exists() else None


def _stub(root: Path) -> Path:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return root / "tritonserver" / "python_backend_stubs" / version / _STUB


def _python_library() -> str | None:
    """The folder of this Python's libpython; "" where the system's loader finds it."""
    name = str(sysconfig.get_config_var("INSTSONAME") or "")
    for folder in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib"):
        if folder and ".so" in name and (Path(folder) / name).exists():
            return str(folder)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return "" if ctypes.util.find_library(version) else None


def _lay_out_backends(root: Path, backends: Path) -> None:
    # Copies, 3 MB: Triton refuses a backend library that a symbolic link takes out of the backend directory.
    python = backends / "python"
    shutil.copytree(root / "tritonserver" / "backends" / "python", python)
    shutil.copy(_stub(root), python / _STUB)
    utilities = python / _UTILITIES
    utilities.write_text(f"{_LEAVE_WORKING_DIRECTORY}\n{utilities.read_text('utf-8')}", "utf-8")
    for backend in _BACKENDS.iterdir():
        shutil.copytree(backend, backends / backend.name, ignore=shutil.ignore_patterns("__pycache__"))


def _backend_settings(arguments: tuple[str, ...]) -> dict[str, str]:
    """What the core tells a native backend at start, and the Python backend keeps from its models."""
    found = re.findall(r"--backend-config=(?:onnxruntime,)?default-max-batch-size=(\d+)", "\n".join(arguments))
    return {"SERVE_DEFAULT_MAX_BATCH_SIZE": found[-1]} if found else {}


def _environment(root: Path) -> dict[str, str]:
    libraries = [str(root.parent / "nvidia_pytriton.libs"), _python_library() or ""]
    inherited = os.environ.get("LD_LIBRARY_PATH", "")
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, [*libraries, inherited])),
        # The stub takes the environment of the first python3 on PATH: it has to be this one.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
    }
    provide_locale(environment)  # StringNormalizer asks for one that slim machines lack
    return environment
