"""The pictures of the templates, from those of the documentation: small WebPs in the package.

python tools/template_pictures.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
SIZE = (480, 320)


def main() -> None:
    """Write a picture for every shipped workflow that the documentation shows, and say which it does not."""
    folder = ROOT / "nodegraph" / "serve" / "template_pictures"
    for workflow in sorted((ROOT / "workflows").rglob("*.json")):
        name = workflow.relative_to(ROOT / "workflows").with_suffix("").as_posix()
        shown = ROOT / "docs" / "images" / f"{workflow.stem}.png"
        if not shown.is_file():
            print(f"{name}: docs/images has no picture of it")
            continue
        with Image.open(shown) as picture:
            small = picture.convert("RGB")
        small.thumbnail(SIZE, Image.Resampling.LANCZOS)
        small.save(folder / f"{name.replace('/', '-')}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
