"""Small made pictures in several formats: samples for a step that decodes images."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_ORIENTATION = 0x0112
# Format, width and height, mode, and how a camera that took it would have been held.
_KINDS = (
    ("JPEG", (120, 90), "RGB", 1),
    ("PNG", (96, 128), "RGBA", 1),
    ("JPEG", (128, 96), "RGB", 6),
    ("PNG", (64, 64), "L", 1),
    ("GIF", (80, 60), "RGB", 1),
)


def sample_images(*, batched: bool) -> tuple[Array, ...]:
    """The bytes of each picture as one request, as text that holds any bytes (as samples are kept)."""
    import numpy as np
    from PIL import Image

    made = []
    for number, (kind, size, mode, orientation) in enumerate(_KINDS):
        picture = Image.fromarray(_draw(number, size)).convert(mode)
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        stream = BytesIO()
        picture.save(stream, kind, **({"exif": exif} if kind == "JPEG" else {}))
        request = np.empty((1, 1) if batched else (1,), dtype=object)
        request.reshape(-1)[0] = stream.getvalue().decode("utf-8", "surrogateescape")
        made.append(request)
    return tuple(made)


def _draw(number: int, size: tuple[int, int]) -> Array:
    """Slopes of colour with blocks on them, another picture for each number."""
    import numpy as np

    width, height = size
    rng = np.random.default_rng(number)
    slopes = np.linspace(0, 1, width)[None, :, None] * rng.random(3) + np.linspace(0, 1, height)[
        :, None, None
    ] * rng.random(3)
    blocks = rng.random((-(-height // 16), -(-width // 16), 3)).repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
    return np.asarray(((slopes / 2 + blocks) / 2 * 255).astype(np.uint8))
