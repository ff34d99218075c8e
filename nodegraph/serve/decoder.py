"""The program that decodes a picture from stdin and writes it anew to stdout. It imports nothing but Pillow.

The first line of its output says suffix, width and height; the encoded picture follows. Exit status 3 and a line
on stderr where the input is refused.
"""

import io
import sys
from typing import NoReturn

MAX_PIXELS = 64 * 2**20
MEMORY = 2 * 2**30
SECONDS = 30


def main() -> None:
    _limit()
    from PIL import Image, ImageOps, UnidentifiedImageError

    data = sys.stdin.buffer.read()
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels; {MAX_PIXELS:,} is the limit")
            is_jpeg = picture.format == "JPEG"
            upright = ImageOps.exif_transpose(picture)
            transparent = upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info
            pixels = upright.convert("RGBA" if transparent else "RGB")
    except UnidentifiedImageError:
        refuse("its content is none of the three")
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, MemoryError, bombs
        refuse(str(error))
    # A picture without the dictionary of texts and profiles that came with it.
    bare = Image.frombytes(pixels.mode, pixels.size, pixels.tobytes())
    encoded = io.BytesIO()
    if is_jpeg:
        bare.save(encoded, "JPEG", quality=95, subsampling=0)
    else:
        bare.save(encoded, "PNG", compress_level=4)
    suffix = ".jpg" if is_jpeg else ".png"
    sys.stdout.buffer.write(f"{suffix} {bare.width} {bare.height}\n".encode())
    sys.stdout.buffer.write(encoded.getbuffer())


def refuse(why: str) -> NoReturn:
    """End with the reason."""
    print(f"not a readable PNG, JPEG or WebP picture: {why}", file=sys.stderr)
    sys.exit(3)


def _limit() -> None:
    """Bound what a decoder can take, where the platform can."""
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


if __name__ == "__main__":
    main()
