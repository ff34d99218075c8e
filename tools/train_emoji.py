"""Train the embedded model from a pack of captioned emoji pictures: autoencoder, text encoder and denoiser.

    python tools/train_emoji.py --pack emoji128 --work .cache/emoji --minutes 110
    python tools/train_emoji.py --pack emoji128 --work .cache/emoji --size 128 --device cuda --minutes 25

`--pack NAME` reads NAME.webps (pictures, concatenated) and NAME.json (offsets, styles, captions). Killed and
run again with the same `--work`, it continues. The weights are exported to `--export` every few minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from emoji_data import HUES, STYLES, TURNED, Pack, caption, emphasis, load_pack
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from nodegraph.diffusion.models import emoji
from nodegraph.diffusion.models.conditional import Conditional
from nodegraph.diffusion.networks.autoencoder import Autoencoder
from nodegraph.diffusion.networks.text import TextNetwork, Vocabulary
from nodegraph.diffusion.training.steps import (
    Average,
    autoencoder_loss,
    flow_loss,
    optimise,
    warm_up_then_decay,
)

STYLE_DROPOUT = 0.15
# The strongest channel has a deviation near 3, so what a picture shows is settled at high noise: a third of a
# sampler's steps are at times above 0.9.
COARSE, TIME_SPREAD = 3.0, 1.5
# The fine detail by which a style is told, even areas and sharp edges, is settled at times below 0.3, and learnt
# last: what is left of the time is for them.
FINE, FINE_SHARE = 0.5, 0.12
HELD_OUT = 40  # one picture of so many is never trained on
RECALLED = 8  # texts whose latents are recalled, for each picture that is denoised
# Among the pictures of one text, its styles are a third of the variance, and learnt last: what they differ in
# counts so much more. This leaves the optimum, the mean of what a text was seen with, where it is.
WEIGHTS = {"apart": 3.0}  # of losses, by their names in the log, which has them as they are; others weigh 1
SAVE_SECONDS = 240
LOG_STEPS = 100


class Data(NamedTuple):
    """The pack as tensors: uint8 pictures (N, 3, size, size), and what they show."""

    images: Tensor
    styles: Tensor
    pack: Pack
    training: list[int]
    held_out: list[int]


def read(pack: Path, size: int) -> Data:
    """Read the pack and set the held-out pictures aside."""
    loaded = load_pack(pack, size)
    images = torch.from_numpy(np.stack([picture.pixels for picture in loaded.pictures]))
    styles = torch.tensor([picture.style for picture in loaded.pictures])
    # By concept and style, so that a recoloured copy of a held-out picture is held out too.
    keys = [picture.concept * len(STYLES) + picture.style for picture in loaded.pictures]
    held_out = [index for index, key in enumerate(keys) if key * 2654435761 % 2**32 % HELD_OUT == 0]
    aside = set(held_out)
    training = [index for index in range(len(keys)) if index not in aside]
    return Data(images.permute(0, 3, 1, 2).contiguous(), styles, loaded, training, held_out)


def siblings(data: Data) -> list[list[int]]:
    """The training pictures in sets that one caption fits: an emoji in its styles, as they came or in one hue."""
    sets = defaultdict(list)
    for index in data.training:
        picture = data.pack.pictures[index]
        sets[picture.concept, picture.colour if picture.turned else None].append(index)
    return list(sets.values())


def vocabulary(pack: Pack) -> Vocabulary:
    """Every word that a caption can hold."""
    used = {picture.concept for picture in pack.pictures}
    texts = [" ".join(words) for words in ([name, word] for name, (_, word) in HUES.items())]
    for index in used:
        concept = pack.concepts[index]
        texts += [concept["name"], concept["zh"], *concept["kw"], *concept["zhkw"]]
    return Vocabulary.of(texts)


def train_autoencoder(data: Data, work: Path, device: str, minutes: float, batch: int = 48) -> Autoencoder:
    """Train the autoencoder, or read the finished one."""
    model = Autoencoder().to(device)
    path = work / "autoencoder.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, map_location=device, weights_only=True))
        return model.eval()
    generator = torch.Generator().manual_seed(0)
    chosen = torch.tensor(data.training)
    sample = data.images[chosen[torch.randperm(len(chosen), generator=generator)[:1000]]]
    model.start_from_components(sample.float().to(device) / 255)
    parameters = list(model.parameters())
    average = Average(model, 0.998)
    started = time.monotonic()

    def share() -> float:
        return (time.monotonic() - started) / (minutes * 60)

    def loss(_: int) -> tuple[Tensor, int]:
        picked = chosen[torch.randint(len(chosen), (batch,), generator=generator)]
        image = data.images[picked].to(device).float() / 255
        with torch.autocast(device_type=device.partition(":")[0], dtype=torch.bfloat16):
            return autoencoder_loss(model, image, generator), batch

    optimiser = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    for step in optimise(parameters, loss, optimiser, lambda i: warm_up_then_decay(share(), i, 1e-3, 50)):
        average.update(model, step.index)
        if step.index % LOG_STEPS == 0:
            log(work, stage="autoencoder", step=step.index, loss=step.loss, seen=step.seen)
        if share() >= 1:
            break
    model.load_state_dict(average.network.state_dict())
    model.eval()
    with torch.no_grad():
        chosen = chosen[torch.randperm(len(chosen), generator=generator)[:4000]]
        model.calibrate(torch.cat([model.posterior(part)[0] for part in batches(data, chosen.tolist(), device)]))
        errors = [
            ((model.decode(model.encode(part)) - part) ** 2).mean()
            for part in batches(data, data.held_out, device)
        ]
    psnr = -10 * torch.stack(errors).mean().log10().item()
    log(work, stage="autoencoder", held_out_psnr=psnr, seen=step.seen)
    save(path, model.state_dict())
    return model


def train_denoiser(
    data: Data, autoencoder: Autoencoder, words: Vocabulary, args: argparse.Namespace, work: Path
) -> None:
    """Train text encoder and denoiser until the time is up, saving and exporting on the way."""
    device = args.device
    with torch.no_grad():
        latents = torch.cat([autoencoder.encode(part).cpu() for part in batches(data, None, device)])
    model = networks(words, latents.shape[1], latents.shape[-1]).to(device)
    average = Average(model, 0.998)
    averaged = average.network
    assert isinstance(averaged, Conditional)
    compiled: nn.Module = torch.compile(model) if args.compile else model  # type: ignore[assignment]
    parameters = list(model.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.01)
    generator = torch.Generator().manual_seed(1)
    rng = random.Random(1)
    state: dict[str, Any] = {"index": 0, "seen": 0, "seconds": 0.0}
    path = work / "denoiser.pt"
    if path.exists():
        stored = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(stored["model"])
        average.network.load_state_dict(stored["average"])
        optimiser.load_state_dict(stored["optimiser"])
        state = stored["state"]
        generator.manual_seed(state["index"] + 1)
        rng.seed(state["index"] + 1)
    started = time.monotonic() - state["seconds"]
    shown = [data.pack.pictures[index] for index in data.training]
    weights = torch.tensor([emphasis(one, data.pack.concepts[one.concept], args.favoured) for one in shown])
    recent: defaultdict[str, list[float]] = defaultdict(list)
    sets = siblings(data)
    evenly = torch.tensor([TURNED if data.pack.pictures[one[0]].turned else 1.0 for one in sets])  # no favourites

    def share() -> float:
        return (time.monotonic() - started) / (args.minutes * 60)

    def one_batch(sets: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, words and style codes of sets of pictures; those of one set are of one caption."""
        texts, codes = [], []
        for one in sets:
            pictures = [data.pack.pictures[index] for index in one]
            colours = {picture.colour for picture in pictures}
            picture = pictures[0] if len(colours) == 1 else replace(pictures[0], colour=None)
            texts += [caption(picture, data.pack.concepts[picture.concept], rng)] * len(one)
            unsaid = rng.random() < STYLE_DROPOUT
            codes += [0 if unsaid else picture.style + 1 for picture in pictures]
        code = functional.one_hot(torch.tensor(codes), len(STYLES) + 1).float()
        return latents[list(chain(*sets))].to(device), words.batch(texts).to(device), code.to(device)

    def loss_of(indices: list[int], network: nn.Module, noise: torch.Generator, shift: float) -> Tensor:
        clean, ids, code = one_batch([[index] for index in indices])
        with torch.autocast(device_type=device.partition(":")[0], dtype=torch.bfloat16):
            return flow_loss(lambda x, t: network(x, t, ids, code), clean, noise, shift, TIME_SPREAD)

    def recall_loss(sets: list[list[int]]) -> tuple[Tensor, Tensor]:
        """How far the latents that texts bring to mind are from those they were seen with; and those apart."""
        clean, ids, code = one_batch(sets)
        with torch.autocast(device_type=device.partition(":")[0], dtype=torch.bfloat16):
            recalled = model.recall(ids[:, : int((ids > 0).sum(1).max())], code).float()
        errors = torch.split(recalled - clean, [len(one) for one in sets])
        apart = torch.cat([error - error.mean(0) for error in errors])
        return (recalled - clean).square().mean(), apart.square().mean()

    def loss(_: int) -> tuple[Tensor, int]:
        # Recalling takes no transformer, so eight times as many pictures cost a quarter more.
        count = RECALLED * args.batch // len(STYLES)
        recalled, apart = recall_loss([sets[index] for index in draw(evenly, count)])
        parts = {"recall": recalled, "apart": apart}
        alone = time.monotonic() - started < 60 * args.recall_minutes
        if not alone:
            indices = [data.training[index] for index in draw(weights, args.batch)]
            name, shift = ("loss", COARSE) if share() < 1 - FINE_SHARE else ("fine_loss", FINE)
            parts[name] = loss_of(indices, compiled, generator, shift)
        for name, part in parts.items():
            recent[name].append(float(part.detach()))
        return weighted(parts), 0 if alone else args.batch

    def draw(weights: Tensor, count: int) -> list[int]:
        return torch.multinomial(weights, count, replacement=True, generator=generator).tolist()

    saved = time.monotonic()
    for step in optimise(
        parameters,
        loss,
        optimiser,
        lambda i: warm_up_then_decay(share(), i, args.rate),
        start=state["index"],
        seen=state["seen"],
    ):
        average.update(model, step.index)
        if step.index % LOG_STEPS == 0:
            elapsed = time.monotonic() - started
            means = {name: sum(values) / len(values) for name, values in recent.items()}
            log(work, stage="denoiser", step=step.index, **means, seen=step.seen, per_second=step.seen / elapsed)
            recent.clear()
        done = share() >= 1
        if done or time.monotonic() - saved > SAVE_SECONDS:
            saved = time.monotonic()
            state = {"index": step.index + 1, "seen": step.seen, "seconds": time.monotonic() - started}
            save(path, {"model": model.state_dict(), "average": average.network.state_dict(),
                        "optimiser": optimiser.state_dict(), "state": state})  # fmt: skip
            with torch.no_grad():
                held_out = loss_of(data.held_out, average.network, torch.Generator().manual_seed(5), COARSE)
            log(work, stage="denoiser", held_out_loss=float(held_out), seen=step.seen)
            export(args.export, autoencoder, averaged, words, latents.shape[-1], state)
        if done:
            return


def weighted(losses: Mapping[str, Tensor]) -> Tensor:
    """What is made small: the sum of the losses, each by its weight."""
    return torch.stack([WEIGHTS.get(name, 1.0) * loss for name, loss in losses.items()]).sum()


def networks(words: Vocabulary, channels: int, size: int) -> Conditional:
    """The text encoder and the denoiser, untrained."""
    return Conditional(TextNetwork(len(words), len(STYLES)), emoji.network(channels, size))


def export(
    folder: Path, autoencoder: Autoencoder, both: Conditional, words: Vocabulary, size: int, state: dict[str, Any]
) -> None:
    """Write the weights in half precision with all that is needed to load them."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"vae": autoencoder, "text_encoder": both.text, "denoiser": both.denoiser}
    for name, part in parts.items():
        tensors = {key: value.detach().cpu().half().contiguous() for key, value in part.state_dict().items()}
        temporary = folder / f".{name}.tmp"
        save_file(tensors, temporary)
        temporary.chmod(0o644)
        temporary.replace(folder / f"{name}.safetensors")
    config = {
        "family": "emoji",
        "size": size * Autoencoder.downscale,
        "channels": autoencoder.channels,
        "styles": list(STYLES),
        "prediction": "flow",
        "pictures_seen": state["seen"],
        "words": list(words.words),
    }
    temporary = folder / ".config.tmp"
    temporary.write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n", "utf-8")
    temporary.replace(folder / "config.json")


def batches(data: Data, indices: list[int] | None, device: str, size: int = 64) -> list[Tensor]:
    """Pictures in batches, float32 in [0, 1]."""
    chosen = data.images if indices is None else data.images[indices]
    return [part.to(device).float() / 255 for part in torch.split(chosen, size)]


def save(path: Path, state: Any) -> None:
    """Write a state whole, or not at all."""
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def log(work: Path, **entry: Any) -> None:
    """Add a line to the log and print it."""
    line = json.dumps({"time": time.strftime("%H:%M:%S"), **entry})
    print(line, flush=True)
    with (work / "log.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def main() -> None:
    """Read the pack and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path(".cache/emoji"))
    parser.add_argument("--export", type=Path, default=Path("nodegraph/diffusion/embedded/emoji"))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler; 1.3 times as fast")
    parser.add_argument("--favoured", type=float, default=5.0, help="how much more often favourites are drawn")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--vae-minutes", type=float, default=8)
    parser.add_argument("--minutes", type=float, default=110, help="of training the denoiser")
    parser.add_argument(
        "--recall-minutes", type=float, default=15, help="how many of them are for recalling alone"
    )
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    data = read(args.pack, args.size)
    log(args.work, pictures=len(data.images), training=len(data.training), held_out=len(data.held_out))
    autoencoder = train_autoencoder(data, args.work, args.device, args.vae_minutes)
    # The plain attention kernel: for 64 tokens on a CPU its backward pass is far quicker than the tiled one.
    with sdpa_kernel([SDPBackend.MATH]) if args.device == "cpu" else nullcontext():
        train_denoiser(data, autoencoder, vocabulary(data.pack), args, args.work)


if __name__ == "__main__":
    main()
