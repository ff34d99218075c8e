"""Pictures as files: encoding tensors, and decoding bytes that nobody vouches for."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, PngImagePlugin

from nodegraph.carried import PIXELS_TEXT, exif
from nodegraph.errors import FileRefused

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 64 * 2**20
THUMBNAIL = 256
THUMBNAIL_PICTURES = 16


def refuse_no_numbers(batch: Any) -> None:
    """Raise ValueError for pictures with values that are no numbers, which a file would show as black."""
    missing = int((batch != batch).sum())  # of all values, NaN alone differs from itself
    if missing:
        raise ValueError(
            f"{missing:,} of the {batch.numel():,} values of the picture are no numbers (NaN), made by a node "
            "before this one. Where that is a sampler, some became too large: lower guidance_scale, or run with "
            "--dtype float32. Where it is a plugin's, it may divide by 0, or take a root of less"
        )


def to_bytes(tensor: Any) -> NDArray[np.uint8]:
    """One picture (C, H, W) in [0, 1] as (H, W, C) bytes, rounded to the nearest; C is 1, 3 or 4."""
    array = np.asarray(tensor.detach().float().cpu() if hasattr(tensor, "detach") else tensor)
    bytes_: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(array), 0, 1) * 255).astype(np.uint8)
    return bytes_.transpose(1, 2, 0)


def encode_png(tensor: Any, metadata: Mapping[str, str] | None = None) -> bytes:
    """One picture (C, H, W) in [0, 1] as a PNG that carries `metadata` as text before its pixels.

    With metadata it also carries the digest of its pixels, so that it can be verified later.
    """
    data = to_bytes(tensor)
    text = PngImagePlugin.PngInfo()
    for key, value in (metadata or {}).items():
        text.add_itxt(key, value, zip=len(value) > 4096)
    if metadata:
        text.add_itxt(PIXELS_TEXT, pixel_digest(data))
    buffer = io.BytesIO()
    _picture(tensor).save(buffer, "PNG", pnginfo=text, compress_level=4)
    return buffer.getvalue()


def pixel_digest(data: NDArray[np.uint8]) -> str:
    """blake2b-160 of the shape and the bytes of a picture."""
    shape = "x".join(map(str, data.shape)).encode()
    return hashlib.blake2b(shape + np.ascontiguousarray(data).tobytes(), digest_size=20).hexdigest()


def pixels_of(content: bytes, max_pixels: int = MAX_PIXELS) -> str:
    """The digest of the pixels of a picture file, as it decodes here. Raises FileRefused as `decode` does."""
    return pixel_digest(to_bytes(decode(content, max_pixels)))


def encode(tensor: Any, format: str, quality: int = 92, metadata: Mapping[str, str] | None = None) -> bytes:
    """One picture (C, H, W) in [0, 1] as JPEG or WEBP that carries `metadata`; JPEG drops transparency onto white.

    With metadata it also carries the digest of its pixels before they were compressed.
    """
    texts = dict(metadata or {})
    if texts:
        texts[PIXELS_TEXT] = pixel_digest(to_bytes(tensor))
    picture = _picture(tensor)
    if format == "JPEG" and picture.mode == "RGBA":
        backdrop = Pillow.new("RGBA", picture.size, "white")
        picture = Pillow.alpha_composite(backdrop, picture).convert("RGB")
    buffer = io.BytesIO()
    picture.save(buffer, format, quality=quality, exif=exif(texts, format))
    return buffer.getvalue()


def encode_animation(batch: Any, format: str, frames_per_second: float, quality: int = 90) -> bytes:
    """Pictures (N, C, H, W) in [0, 1] as one animated WEBP or GIF that repeats for ever."""
    first, *rest = (_picture(tensor).convert("RGB") for tensor in batch)
    buffer = io.BytesIO()
    options = {"quality": quality, "method": 4} if format == "WEBP" else {}
    milliseconds = round(1000 / frames_per_second)
    first.save(buffer, format, save_all=True, append_images=rest, duration=milliseconds, loop=0, **options)
    return buffer.getvalue()


def thumbnail(batch: Any, size: int = THUMBNAIL) -> bytes:
    """A JPEG, `size` pixels along its longer side, of the pictures of a batch (N, C, H, W) in [0, 1].

    Several lie in rows, as near to a square as they go; of more than `THUMBNAIL_PICTURES` the first are shown.
    Small pictures are enlarged.
    """
    pictures = [_picture(one).convert("RGB") for one in batch[:THUMBNAIL_PICTURES]]
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    width, height = pictures[0].size
    scale = size / max(columns * width, rows * height)
    tile = (max(1, round(width * scale)), max(1, round(height * scale)))
    sheet = Pillow.new("RGB", (columns * tile[0], rows * tile[1]))
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        sheet.paste(picture.resize(tile, Pillow.Resampling.LANCZOS), (column * tile[0], row * tile[1]))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def decode(content: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """A picture file as float32 (C, H, W) in [0, 1], C 3 or 4, turned as its EXIF says.

    Only PNG, JPEG and WebP are read, whatever the file is called, and the size is checked before a pixel is
    decoded.

    Raises:
        FileRefused: not such a picture, damaged, or larger than `max_pixels`.
    """
    try:
        with Pillow.open(io.BytesIO(content), formats=FORMATS) as picture:
            if picture.width * picture.height > max_pixels:
                raise FileRefused(
                    f"the picture has {picture.width} x {picture.height} pixels; {max_pixels:,} is the limit"
                )
            upright = ImageOps.exif_transpose(picture)
            transparent = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
            array = np.asarray(upright.convert("RGBA" if transparent else "RGB"), dtype=np.float32)
    except FileRefused:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, bombs
        raise FileRefused(f"not a readable PNG, JPEG or WebP picture: {error}") from None
    return np.ascontiguousarray(array.transpose(2, 0, 1) / np.float32(255))


def _picture(tensor: Any) -> Pillow.Image:
    data = to_bytes(tensor)
    return Pillow.fromarray(data[:, :, 0] if data.shape[2] == 1 else data)
