"""The locale that ONNX Runtime's StringNormalizer asks for, where the machine lacks it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

LOCALE = "en_US.UTF-8"
_EQUIVALENTS = ("/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8")


def provide_locale(environment: dict[str, str] | None = None) -> bool:
    """Make en_US.UTF-8 loadable by this process (or the environment given); True where that was possible.

    C.UTF-8 has the same character tables; glibc takes it under the other name from a folder that LOCPATH names.
    """
    target = os.environ if environment is None else environment
    source = next((Path(path) for path in _EQUIVALENTS if Path(path).is_dir()), None)
    if source is None or "LOCPATH" in target:
        return False
    folder = Path(tempfile.gettempdir()) / f"serve-locale-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        link = folder / LOCALE
        if not link.exists():
            link.symlink_to(source)
    except OSError:
        return False
    target["LOCPATH"] = str(folder)
    return True
