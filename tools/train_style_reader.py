"""Train the reader of styles of the embedded model: which of its styles a picture is drawn in.

python tools/train_style_reader.py --pack PACK

PACK is what `build_pack.py` made. One concept of ten is held out, in every style. A part of the pictures is shown
again as the model's own autoencoder gives it back, so that what the model paints is read too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from emoji_data import STYLES
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional
from train_emoji import Data, read

from nodegraph.diffusion.networks.autoencoder import Autoencoder
from nodegraph.diffusion.networks.style import StyleNetwork, look
from nodegraph.diffusion.training.steps import warm_up_then_decay

SIZE, STEPS, BATCH = 64, 4000, 256
AGAIN, HELD_OUT = 1500, 10
EMBEDDED = Path("nodegraph/diffusion/embedded/emoji")


@torch.no_grad()
def looks(data: Data, indices: list[int], vae: Autoencoder | None = None) -> Tensor:
    """How pictures look, as they are or as an autoencoder gives them back."""
    found = []
    for part in torch.split(torch.tensor(indices), 64):
        image = data.images[part].float() / 255
        found.append(look(image if vae is None else vae.decode(vae.encode(image)).clamp(0, 1)))
    return torch.cat(found)


def train(inputs: Tensor, styles: Tensor) -> StyleNetwork:
    """A reader, shown every style as often."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    network = StyleNetwork(len(STYLES))
    network.mean, network.deviation = inputs.mean(0), inputs.std(0).clamp(min=1e-3)
    optimiser = torch.optim.AdamW(network.parameters(), 0.0, weight_decay=0.1)
    weights = (1 / torch.bincount(styles).float())[styles]
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = warm_up_then_decay(step / STEPS, step, 3e-3, 100)
        picked = torch.multinomial(weights, BATCH, replacement=True, generator=generator)
        loss = functional.cross_entropy(network(inputs[picked]), styles[picked], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network.eval()


def main() -> None:
    """Train, say how well held-out concepts are read, and write the weights beside the model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--export", type=Path, default=EMBEDDED)
    arguments = parser.parse_args()
    data = read(arguments.pack, SIZE)
    config = json.loads((EMBEDDED / "config.json").read_text("utf-8"))
    vae = Autoencoder(config["channels"]).eval()
    vae.load_state_dict({key: value.float() for key, value in load_file(EMBEDDED / "vae.safetensors").items()})
    order = torch.randperm(len(data.images), generator=torch.Generator().manual_seed(1)).tolist()
    aside = [index for index in order if data.pack.pictures[index].concept % HELD_OUT == 0]
    shown = [index for index in order if data.pack.pictures[index].concept % HELD_OUT]
    inputs = torch.cat([looks(data, shown), looks(data, shown[:AGAIN], vae)])
    network = train(inputs, data.styles[shown + shown[:AGAIN]])
    for name, indices, through in (("drawn", aside, None), ("given back", aside[:300], vae)):
        with torch.no_grad():
            right = (network(looks(data, indices, through)).argmax(1) == data.styles[indices]).float()
        each = [f"{style} {float(right[data.styles[indices] == i].mean()):.0%}" for i, style in enumerate(STYLES)]
        print(f"held out, {name}: {float(right.mean()):.0%} of {len(right)} right; {', '.join(each)}")
    tensors = {key: value.half().contiguous() for key, value in network.state_dict().items()}
    path = arguments.export / "style_reader.safetensors"
    save_file(tensors, path, metadata={"styles": json.dumps(STYLES)})
    path.chmod(0o644)


if __name__ == "__main__":
    main()
