"""The pictures of the model card: the loss curve of a training log, and samples that nobody picked.

python tools/emoji_report.py --log .cache/emoji/log.jsonl --out docs/images
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from emoji_data import STYLES
from torch import Tensor

from nodegraph.diffusion.models import emoji
from nodegraph.diffusion.pictures.grid import labelled_grid
from nodegraph.diffusion.pictures.plot import Curve, line_plot
from nodegraph.diffusion.sampling.loop import sample
from nodegraph.diffusion.sampling.schedules import schedule
from nodegraph.diffusion.values import Checkpoint, Latent, Sigmas
from nodegraph.pictures import encode_png

# Fixed before the model was trained; seed 0 for all, in this order, every one shown.
PROMPTS = """\
red apple|green apple|banana|strawberry|watermelon|pizza|hamburger|birthday cake
cat face|dog face|panda|fox|frog|penguin|fish|butterfly
smiling face|smiling face with heart-eyes|crying face|angry face|winking face|ghost|alien|robot
red heart|blue heart|green heart|yellow star|purple circle|rainbow|sun|moon
blue car|red car|bus|bicycle|rocket|airplane|ship|train
house|tree|cactus|flower|mushroom|snowman|fire|umbrella
book|key|bell|gift|balloon|guitar|camera|crown
红苹果|蓝色汽车|猫脸|狗脸|笑脸|红色的心|披萨|火箭""".replace("\n", "|").split("|")
STYLE = "3d"
NAMED = ("red apple", "红苹果", "blue car", "蓝色汽车", "cat face", "猫脸", "smiling face with heart-eyes", "花痴")


def samples(folder: Path) -> Tensor:
    """A labelled sheet of every prompt at seed 0, (1, 3, H, W)."""
    pictures = paint(folder, [(prompt, STYLE) for prompt in PROMPTS])
    return labelled_grid(pictures, 8, [p if p.isascii() else "" for p in PROMPTS], scale=2)


def named(folder: Path) -> Tensor:
    """Four things in two languages, a row for each style, at seed 0, (1, 3, H, W)."""
    asked = [(prompt, style) for style in STYLES for prompt in NAMED]
    labels = [
        f"{prompt.split(' with ')[-1] if prompt.isascii() else 'in Chinese'}, {style}" for prompt, style in asked
    ]
    return labelled_grid(paint(folder, asked), len(NAMED), labels, scale=2)


def paint(folder: Path, asked: list[tuple[str, str]], steps: int = 25, guidance_scale: float = 2.0) -> Tensor:
    """A picture for each prompt and style, seed 0: (N, 3, H, W)."""
    checkpoint = Checkpoint("emoji", "", "emoji")
    live = emoji.load(checkpoint, folder, "cpu")
    model, _, vae = emoji.describe(checkpoint, folder)
    side = vae.size // vae.downscale
    blank = Latent(torch.zeros(1, vae.latent_channels, side, side))
    sigmas = Sigmas(schedule("karras", model.parametrization, steps))
    negative = live.text_encoder.encode("", {})
    pictures = []
    for prompt, style in asked:
        positive = live.text_encoder.encode(prompt, {style: 1.0})
        result = blank.tensor
        for step in sample(
            live.denoiser, blank, sigmas, positive, negative, name="dpmpp_2m", guidance_scale=guidance_scale
        ):
            result = step.x
        pictures.append(live.vae.decode(result.clone()))
    return torch.cat(pictures)


def loss_curve(log: Path) -> Tensor:
    """Losses of the denoiser, and of what texts recall, against pictures seen, (1, 3, H, W)."""
    entries = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    entries = [entry for entry in entries if entry.get("stage") == "denoiser"]
    curves = []
    for key, name in (
        ("loss", "training"),
        ("fine_loss", "fine detail"),
        ("held_out_loss", "held out"),
        ("recall", "recalled"),
    ):
        points = sorted((entry["seen"], entry[key]) for entry in entries if entry.get(key, 9) < 1)
        curves.append(Curve(name, [seen / 1000 for seen, _ in points], [loss for _, loss in points]))
    return line_plot(curves, title="Flow-matching loss", x_label="thousand pictures seen", y_label="loss")


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("--model", type=Path, default=Path("nodegraph/diffusion/embedded/emoji"))
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    args = parser.parse_args()
    (args.out / "emoji-loss.png").write_bytes(encode_png(loss_curve(args.log)[0]))
    (args.out / "emoji-named.png").write_bytes(encode_png(named(args.model)[0]))
    (args.out / "emoji-samples.png").write_bytes(encode_png(samples(args.model)[0]))


if __name__ == "__main__":
    main()
