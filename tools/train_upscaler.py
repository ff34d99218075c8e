"""Train the shipped upscaler: a small convolutional network that doubles drawn pictures, exported as ONNX.

    python tools/train_upscaler.py --seconds 330 --export nodegraph/diffusion/embedded/upscale2x.onnx

It learns from shapes that are drawn here, at three times their size and then reduced, so no data is needed. The
network works on the small picture and spreads its last channels over pixels (Shi et al. 2016, sub-pixel
convolution), and adds what interpolation leaves out.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw
from torch import Tensor, nn
from torch.nn import functional

SIZE, FINE = 160, 3  # of a drawn picture, and how many times finer it is drawn
PATCH = 40  # side of what the network sees in training


class Doubler(nn.Module):
    """Pictures (N, 3, H, W) in [0, 1] to (N, 3, 2 H, 2 W)."""

    def __init__(self, width: int = 32, depth: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, padding=1)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth))
        self.last = nn.Conv2d(width, 12, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """The picture at twice its size."""
        hidden = functional.relu(self.first(image - 0.5))
        for first, second in zip(self.middle[::2], self.middle[1::2], strict=True):
            hidden = hidden + second(functional.relu(first(hidden)))
        detail = functional.pixel_shuffle(self.last(hidden), 2)
        smooth = functional.interpolate(image, scale_factor=2.0, mode="bilinear", align_corners=False)
        return (smooth + detail).clamp(0, 1)


def drawing(rng: random.Random) -> Tensor:
    """A picture (3, SIZE, SIZE) of overlapping shapes with outlines, shades and strokes, most on white."""
    side = SIZE * FINE
    ground = (255, 255, 255) if rng.random() < 0.5 else _colour(rng)
    picture = Pillow.new("RGB", (side, side), ground)
    for _ in range(rng.randint(6, 22)):
        layer = Pillow.new("L", (side, side), 0)
        pen = ImageDraw.Draw(layer)
        _shape(pen, rng, side)
        picture.paste(_paint(rng, side), mask=layer)
        if rng.random() < 0.3:
            _outline(picture, layer, rng)
    small = picture.resize((SIZE, SIZE), Pillow.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, dtype=np.float32).transpose(2, 0, 1) / 255)


def _colour(rng: random.Random) -> tuple[int, int, int]:
    if rng.random() < 0.25:
        grey = rng.randint(0, 255)
        return grey, grey, grey
    return rng.randint(0, 255), rng.randint(0, 255), rng.randint(0, 255)


def _paint(rng: random.Random, side: int) -> Pillow.Image:
    """One colour, or a smooth change from one to another."""
    if rng.random() < 0.6:
        return Pillow.new("RGB", (side, side), _colour(rng))
    kind = Pillow.linear_gradient("L") if rng.random() < 0.6 else Pillow.radial_gradient("L")
    shade = kind.resize((side, side)).rotate(rng.randint(0, 3) * 90)
    return Pillow.composite(
        Pillow.new("RGB", (side, side), _colour(rng)), Pillow.new("RGB", (side, side), _colour(rng)), shade
    )


def _shape(pen: ImageDraw.ImageDraw, rng: random.Random, side: int) -> None:
    x, y = rng.uniform(0, side), rng.uniform(0, side)
    reach = side * rng.choice((0.02, 0.04, 0.08, 0.15, 0.3)) * rng.uniform(0.6, 1.6)
    box = (x - reach, y - reach * rng.uniform(0.4, 1), x + reach, y + reach * rng.uniform(0.4, 1))
    kind = rng.randrange(6)
    if kind == 0:
        pen.ellipse(box, fill=255)
    elif kind == 1:
        pen.rounded_rectangle(box, radius=reach * rng.uniform(0, 0.4), fill=255)
    elif kind == 2:
        count, turn = rng.randint(3, 9), rng.uniform(0, math.tau)
        dent = rng.choice((1.0, rng.uniform(0.3, 0.8)))
        corners = [
            (x + math.cos(turn + math.pi * i / count) * reach * (dent if i % 2 else 1),
             y + math.sin(turn + math.pi * i / count) * reach * (dent if i % 2 else 1))
            for i in range(2 * count)
        ]  # fmt: skip
        pen.polygon(corners, fill=255)
    elif kind == 3:
        start = rng.randint(0, 359)
        pen.arc(
            box, start, start + rng.randint(60, 300), fill=255, width=max(2, int(reach * rng.uniform(0.05, 0.3)))
        )
    elif kind == 4:
        points = [(x + rng.uniform(-reach, reach) * 2, y + rng.uniform(-reach, reach) * 2) for _ in range(3)]
        pen.line(points, fill=255, width=max(2, int(side * rng.uniform(0.003, 0.02))), joint="curve")
    else:
        for i in range(rng.randint(3, 12)):
            dot = (x + (i % 4) * reach / 2, y + (i // 4) * reach / 2)
            size = reach * rng.uniform(0.05, 0.2)
            pen.ellipse((dot[0] - size, dot[1] - size, dot[0] + size, dot[1] + size), fill=255)


def _outline(picture: Pillow.Image, layer: Pillow.Image, rng: random.Random) -> None:
    from PIL import ImageChops, ImageFilter

    wide = layer.filter(ImageFilter.MaxFilter(2 * rng.randint(1, 3) + 1))
    colour = _colour(rng) if rng.random() < 0.5 else (30, 30, 30)
    picture.paste(Pillow.new("RGB", picture.size, colour), mask=ImageChops.subtract(wide, layer))


def halved(large: Tensor, rng: random.Random) -> Tensor:
    """Pictures (N, 3, h, w) at half their size, by a way of shrinking chosen by chance, with a little grain."""
    way = rng.random()
    if way < 0.5:
        small = functional.avg_pool2d(large, 2)
    else:
        mode = "bicubic" if way < 0.8 else "bilinear"
        small = functional.interpolate(large, scale_factor=0.5, mode=mode, antialias=True, align_corners=False)
    grain = rng.choice((0.0, 0.0, 0.01, 0.02))
    return (small + grain * torch.randn_like(small)).clamp(0, 1)


def train(seconds: float, seed: int = 0) -> Doubler:
    """A network trained for so much time of a processor; prints its error on drawings kept apart."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    drawings = torch.stack([drawing(rng) for _ in range(140)])
    held, seen = drawings[:12], drawings[12:]
    network = Doubler()
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    started, step = time.process_time(), 0
    while (share := (time.process_time() - started) / seconds) < 1:
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share))) * min(1, (step + 1) / 50)
        patches = [_patch(seen[rng.randrange(len(seen))], rng) for _ in range(16)]
        large = torch.stack(patches)
        loss = (network(halved(large, rng)) - large).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        step += 1
        if step % 100 == 0:
            print(f"{step} steps, {time.process_time() - started:.0f} s, loss {loss:.4f}", flush=True)
    with torch.inference_mode():
        small = functional.avg_pool2d(held, 2)
        plain = functional.interpolate(small, scale_factor=2, mode="bicubic", align_corners=False).clamp(0, 1)
        for name, made in (("bicubic", plain), ("network", network(small))):
            print(f"{name}: {-10 * torch.log10((made - held).square().mean()):.2f} dB on drawings kept apart")
    return network.eval()


def _patch(picture: Tensor, rng: random.Random) -> Tensor:
    side = 2 * PATCH
    top, left = rng.randrange(SIZE - side + 1), rng.randrange(SIZE - side + 1)
    patch = picture[:, top : top + side, left : left + side]
    patch = patch.flip(rng.choice(([], [1], [2], [1, 2])))
    return patch.transpose(1, 2) if rng.random() < 0.5 else patch


def main() -> None:
    """Train and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=330)
    parser.add_argument("--export", type=Path, required=True)
    options = parser.parse_args()
    network = train(options.seconds)
    from nodegraph.diffusion.networks.onnx import export

    content = export(network, {"image": torch.zeros(2, 3, 16, 24)}, ["image"], {"image": {0: "n", 2: "h", 3: "w"}})
    options.export.write_bytes(content)
    torch.save(network.state_dict(), options.export.with_suffix(".pt"))
    print(f"{options.export}: {len(content) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
