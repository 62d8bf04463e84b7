"""The locale that ONNX Runtime's StringNormalizer asks for, where the machine lacks it."""

from __future__ import annotations

import atexit
import ctypes
import os
from collections.abc import MutableMapping
from pathlib import Path

from serve_deploy.files.temporary import make_temporary, remove_temporary

LOCALE = "en_US.UTF-8"
_EQUIVALENTS = ("/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8")


_ALL_CATEGORIES = 0x1FBF  # LC_ALL_MASK of glibc


def has_locale() -> bool:
    """Whether the C library finds the locale as things are."""
    try:
        newlocale = ctypes.CDLL(None).newlocale
    except (OSError, AttributeError):
        return True  # no glibc: its tricks do not help here
    newlocale.restype, newlocale.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p]
    return newlocale(_ALL_CATEGORIES, LOCALE.encode(), None) is not None


def provide_locale(environment: MutableMapping[str, str] = os.environ) -> bool:
    """Make en_US.UTF-8 loadable by this process (or in the environment given); True where it now is.

    C.UTF-8 has the same character tables; glibc takes it under the other name from a folder that LOCPATH names.
    """
    if has_locale():
        return True
    source = next((Path(path) for path in _EQUIVALENTS if Path(path).is_dir()), None)
    if source is None or "LOCPATH" in environment:
        return False
    folder = make_temporary("locale")
    atexit.register(remove_temporary, folder)
    (folder / LOCALE).symlink_to(source)
    environment["LOCPATH"] = str(folder)
    return True
