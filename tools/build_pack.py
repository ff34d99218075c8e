"""Build the pack of captioned emoji pictures that the embedded model is trained on, from its sources' packages.

    pip install -c constraints.txt '.[pack]'
    python tools/build_pack.py --out emoji128
    python tools/build_pack.py --out twemoji64 --size 64 --styles twemoji flat

Every package comes from the npm registry in one pinned version and is refused unless its SHA-512 is the one
written here. Nothing of a package is run or unpacked to disk: pictures and words are read out of the archive. The
result, OUT.webps and OUT.json, is what `tools/train_emoji.py --pack` and the node `DatasetPack` read. Licences of
the sources are in NOTICE and in docs/model-card.md.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

REGISTRY = "https://registry.npmjs.org"
QUALITY = 88
FORMAT = (
    "concatenated WebP files, {size}x{size} RGB on white, quality 88; image k is bytes offsets[k]:offsets[k+1]"
)
MAX_MEMBER = 64 * 2**20


@dataclass(frozen=True)
class Package:
    """An npm package in one version, with the SHA-512 of its archive in base64."""

    name: str
    version: str
    sha512: str

    @property
    def url(self) -> str:
        """Where its archive is."""
        return f"{REGISTRY}/{self.name}/-/{self.name.rpartition('/')[2]}-{self.version}.tgz"


STYLES = {
    "noto": Package(
        "@iconify-json/noto",
        "1.2.9",
        "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
    ),
    "blob": Package(
        "@iconify-json/noto-v1",
        "1.2.5",
        "/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==",
    ),
    "twemoji": Package(
        "@iconify-json/twemoji",
        "1.2.5",
        "uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
    ),
    "3d": Package(
        "@lobehub/fluent-emoji-3d",
        "1.1.0",
        "Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
    ),
    "fluent": Package(
        "@iconify-json/fluent-emoji",
        "1.2.7",
        "D8G6bKAyIsyxP1rzZtIWr/gg/fO4Rg1+DyCWlfqKK4h8W+4Em/Y0P6QYgJUQTlUcagzJvSyg+9OBv4hz4Hc/QA==",
    ),
    "flat": Package(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
    ),
    "mono": Package(
        "@iconify-json/fluent-emoji-high-contrast",
        "1.2.6",
        "esqhZPpkrF7sNX3NsLoh8KW64okEr/bzko7WNnFP+qTJGAqDPDYjp0925yxuivXy3HtVQB8xhIKu3+Nq1byX5w==",
    ),
    "emojione": Package(
        "@iconify-json/emojione",
        "1.2.3",
        "T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg==",
    ),
    "firefox": Package(
        "@iconify-json/fxemoji",
        "1.2.2",
        "UAasRaxzFUKfIGSmLwnoarsssA4LX0VLLuEmplIqM6ZNQqIQRtav8tZ4H1neTlBreXuMQyAifr5jP4kn78DpiQ==",
    ),
}
EMOJIBASE = Package(
    "emojibase-data",
    "17.0.0",
    "Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
)
ANNOTATIONS = Package(
    "cldr-annotations-full",
    "48.2.0",
    "DV7A+rEcgUSNTRsVGNGqBZRmAkGfwhGHO5Q1dRwzBoBnVrHWp804JP7/QJdEc66iHmx3+zLWVIMCFLm0lW7PUQ==",
)
DERIVED = Package(
    "cldr-annotations-derived-full",
    "48.2.0",
    "log62km+AOzI7n/NEuNNFV0mg9DWnt67EYCh1RwxZq9dyRuyteB586LT83Ke8TchEfnwI9cIk2P31zO4nTvZmw==",
)

Render = Callable[[str, int], bytes]  # an SVG document and a size to a PNG
Words = dict[str, tuple[str, list[str]]]  # by code points: a name and keywords


class Archive:
    """The files of a package, read out of its archive in memory."""

    def __init__(self, content: bytes) -> None:
        self._tar = tarfile.TarFile(fileobj=io.BytesIO(gzip.decompress(content)))
        self.names = {member.name.partition("/")[2]: member for member in self._tar if member.isfile()}

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises KeyError where there is none, ValueError where it is absurdly large."""
        member = self.names[name]
        if member.size > MAX_MEMBER:
            raise ValueError(f"{name} has {member.size:,} bytes")
        file = self._tar.extractfile(member)
        assert file is not None
        return file.read()

    def json(self, name: str) -> Any:
        """A file's data."""
        return json.loads(self.read(name))


def fetch(package: Package, cache: Path) -> Archive:
    """A package's archive, from the cache or the registry. Raises ValueError where its SHA-512 is another."""
    path = cache / f"{package.name.replace('/', '_')}-{package.version}.tgz"
    if not path.exists():
        print(f"fetching {package.url}", flush=True)
        with urllib.request.urlopen(package.url, timeout=120) as answer:
            content = answer.read()
        check(package, content)
        cache.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    content = path.read_bytes()
    check(package, content)
    return Archive(content)


def check(package: Package, content: bytes) -> None:
    """Raise ValueError where an archive is not the pinned one."""
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != package.sha512:
        raise ValueError(f"{package.name} {package.version}: SHA-512 is {found}, not the pinned {package.sha512}")


def code_points(text: str) -> str:
    """Code points as `1f441-200d-1f5e8`: in lower case, without variation selectors."""
    return "-".join(point for point in text.lower().split("-") if point not in ("fe0f", "fe0e"))


def words(base: Archive, derived: Archive, language: str) -> Words:
    """Names and keywords of a language from CLDR."""
    found: Words = {}
    for archive, folder in ((derived, "annotationsDerived"), (base, "annotations")):
        data = archive.json(f"{folder}/{language}/annotations.json")[folder]["annotations"]
        for emoji, entry in data.items():
            if entry.get("tts"):
                found[code_points("-".join(f"{ord(c):04x}" for c in emoji))] = (
                    entry["tts"][0],
                    entry.get("default", []),
                )
    return found


def concepts(emojibase: Archive, english: Words, chinese: Words) -> list[dict[str, Any]]:
    """Every emoji without a skin tone that English and Chinese have a name for, by code points."""
    messages, keys = emojibase.json("en/messages.json"), emojibase.json("meta/groups.json")
    said = {one["key"]: one["message"] for part in ("groups", "subgroups") for one in messages[part]}
    found = []
    for entry in emojibase.json("en/data.json"):
        points = code_points(entry["hexcode"])
        if points not in english or points not in chinese:
            continue
        (name, keywords), (zh, zh_keywords) = english[points], chinese[points]
        found.append(
            {
                "cp": points,
                "name": name,
                "kw": keywords,
                "zh": zh,
                "zhkw": zh_keywords,
                "group": said[keys["groups"][str(entry["group"])]] if "group" in entry else "",
                "sub": said[keys["subgroups"][str(entry["subgroup"])]] if "subgroup" in entry else "",
                "skin": False,
            }
        )
    return sorted(found, key=lambda one: str(one["cp"]))


def drawings(
    archive: Archive, by_points: dict[str, str], render: Render, size: int
) -> Iterator[tuple[str, bytes]]:
    """The pictures of a style: code points and an encoded picture.

    Args:
        archive: an icon set of Iconify, or a folder of pictures named by code points.
        by_points: the English name of each emoji, by code points, for sets that go by names.
        render: draws an SVG document.
        size: width and height in pixels.
    """
    if "icons.json" not in archive.names:
        for name in archive.names:
            points = code_points(Path(name).stem)
            if name.startswith("assets/") and points in by_points:
                yield points, archive.read(name)
        return
    icons = archive.json("icons.json")
    named = {re.sub(r"[^a-z0-9]", "", name.lower()): points for points, name in by_points.items()}
    chars = archive.json("chars.json") if "chars.json" in archive.names else {}
    places = {icon: code_points(points) for points, icon in chars.items()}
    done: set[str] = set()
    for icon in icons["icons"]:
        letters = re.sub(r"[^a-z0-9]", "", icon)
        points = places.get(icon) or named.get(letters) or named.get(letters.removesuffix("face"), "")
        if points in by_points and points not in done:
            done.add(points)
            yield points, render(document(icons, icon), size)


def document(icons: dict[str, Any], name: str) -> str:
    """An icon of an Iconify set as an SVG document."""
    icon = icons["icons"][name]
    left, top = icon.get("left", 0), icon.get("top", 0)
    width, height = (icon.get(side, icons.get(side, 16)) for side in ("width", "height"))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'
    )


def on_white(content: bytes, size: int) -> bytes:
    """A picture scaled to fit a white square, as WebP."""
    with Pillow.open(io.BytesIO(content), formats=("PNG", "WEBP")) as picture:
        drawn = picture.convert("RGBA")
    scale = size / max(drawn.size)
    shape = (max(1, round(drawn.width * scale)), max(1, round(drawn.height * scale)))
    if shape != drawn.size:
        drawn = drawn.resize(shape, Pillow.Resampling.LANCZOS)
    sheet = Pillow.new("RGBA", (size, size), "white")
    sheet.alpha_composite(drawn, ((size - shape[0]) // 2, (size - shape[1]) // 2))
    buffer = io.BytesIO()
    sheet.convert("RGB").save(buffer, "WEBP", quality=QUALITY, method=4)
    return buffer.getvalue()


def build(
    styles: dict[str, Archive], known: list[dict[str, Any]], render: Render, size: int
) -> tuple[dict[str, Any], bytes]:
    """The pack: its index, and its pictures one after the other."""
    index = {entry["cp"]: number for number, entry in enumerate(known)}
    names = {entry["cp"]: entry["name"] for entry in known}
    blobs, style, emoji = [], [], []
    for number, (name, archive) in enumerate(styles.items()):
        pictures = sorted(
            (index[p], on_white(content, size)) for p, content in drawings(archive, names, render, size)
        )
        print(f"{name}: {len(pictures)} pictures", flush=True)
        for place, blob in pictures:
            blobs.append(blob)
            style.append(number)
            emoji.append(place)
    offsets = [0]
    for blob in blobs:
        offsets.append(offsets[-1] + len(blob))
    described = {
        "format": FORMAT.format(size=size),
        "styles": list(styles),
        "offsets": offsets,
        "style": style,
        "emoji": emoji,
        "emojis": known,
    }
    return described, b"".join(blobs)


def resvg(svg: str, size: int) -> bytes:
    """Draw an SVG document with resvg: no scripts, no network, no fonts of this machine."""
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True))


def main() -> None:
    """Fetch, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.webps and OUT.json")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--styles", nargs="+", choices=STYLES, default=list(STYLES))
    parser.add_argument("--cache", type=Path, default=Path(".cache/packages"))
    args = parser.parse_args()
    base, derived = fetch(ANNOTATIONS, args.cache), fetch(DERIVED, args.cache)
    known = concepts(fetch(EMOJIBASE, args.cache), words(base, derived, "en"), words(base, derived, "zh"))
    styles = {name: fetch(STYLES[name], args.cache) for name in args.styles}
    described, content = build(styles, known, resvg, args.size)
    args.out.with_suffix(".webps").write_bytes(content)
    args.out.with_suffix(".json").write_text(json.dumps(described, ensure_ascii=False), "utf-8")
    print(f"{len(described['style'])} pictures of {len(known)} emoji, {len(content) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
