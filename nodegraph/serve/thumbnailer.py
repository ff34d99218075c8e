"""The program that makes small pictures of picture files, one after the other. It imports nothing but Pillow.

A line of JSON on stdin, `[path, size]`, is answered on stdout by a line `ok LENGTH` or `no LENGTH`, and as many
bytes: the picture as WebP, or why there is none. It ends with its input.
"""

import io
import json
import sys

MAX_PIXELS = 256 * 2**20
MEMORY = 2 * 2**30


def main() -> None:
    _limit()
    sys.stdout.buffer.flush()
    for line in sys.stdin.buffer:
        path, size = json.loads(line)
        try:
            word, answer = b"ok", shrink(path, size)
        except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, bombs
            word, answer = b"no", (str(error) or type(error).__name__).encode("utf-8", "replace")[:1000]
        sys.stdout.buffer.write(b"%s %d\n%s" % (word, len(answer), answer))
        sys.stdout.buffer.flush()


def shrink(path: str, size: int) -> bytes:
    from PIL import Image, ImageOps

    with Image.open(path, formats=("PNG", "JPEG", "WEBP")) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
        picture.draft("RGB", (2 * size, 2 * size))
        upright = ImageOps.exif_transpose(picture)
        plain = upright.mode in ("RGB", "L", "CMYK", "YCbCr", "I;16", "I", "F", "1")
        pixels = upright.convert("RGB" if plain and "transparency" not in upright.info else "RGBA")
        pixels.thumbnail((size, size), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        pixels.save(buffer, "WEBP", quality=82, method=2)
    return buffer.getvalue()


def _limit() -> None:
    """Bound what a decoder can take, where the platform can."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


if __name__ == "__main__":
    main()
