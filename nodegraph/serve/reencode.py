"""Pictures that nobody vouches for: decoded in a process of its own, and written anew.

What comes out holds pixels and nothing else: no text, no EXIF, no trailing bytes, no second format hidden in the
first. A decoder that crashes, hangs or swallows memory takes its own process down and not the server.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import NamedTuple

from nodegraph.serve.refuse import Refused

DECODER = Path(__file__).with_name("decoder.py")
SECONDS = 40
REFUSED = 3  # the exit status of a decoder that says why on stderr


class Picture(NamedTuple):
    """A re-encoded picture. `suffix` is `.png` or `.jpg`."""

    data: bytes
    suffix: str
    width: int
    height: int


async def reencode(data: bytes) -> Picture:
    """Decode and encode a PNG, JPEG or WebP picture in a child process.

    Raises:
        Refused: `invalid`: not such a picture, damaged, too large, or its decoding needs too much.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", str(DECODER)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await child.communicate(data)
    except TimeoutError:
        raise Refused("invalid", f"the picture could not be decoded within {SECONDS} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode == REFUSED:
        raise Refused("invalid", err.decode("utf-8", "replace").strip())
    if child.returncode != 0:
        raise Refused("invalid", "the picture could not be decoded: its decoder crashed or ran out of memory")
    head, _, encoded = out.partition(b"\n")
    suffix, width, height = head.decode().split()
    return Picture(encoded, suffix, int(width), int(height))
