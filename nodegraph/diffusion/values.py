"""What travels on wires: frozen dataclasses of tensors and plain data, checked when they are made.

Live networks never travel. `Model`, `TextEncoder` and `VAE` are handles: they say which checkpoint is meant, by
the digest of its content, and everything that is known without loading it. What trainings learn from and report
is in `training.values`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

Prediction = Literal["eps", "v", "flow", "x0"]
Law = Literal["linear", "scaled_linear", "cosine", "flow", "continuous"]
InpaintMethod = Literal["blend", "repaint", "channels", "guided", "exact"]
Wrap = Literal["both", "horizontal", "vertical"]


def need(holds: bool, what: str, tensor: Tensor) -> None:
    """Raise ValueError that says what a tensor is to be, and what it is, where that does not hold."""
    if not holds:
        raise ValueError(f"{what}; got shape {tuple(tensor.shape)} and dtype {tensor.dtype}")


@dataclass(frozen=True, eq=False)
class Image:
    """Pictures: float32 (N, 3 or 4, H, W) in [0, 1]; the fourth channel is opacity."""

    tensor: Tensor

    def __post_init__(self) -> None:
        shape = self.tensor.shape
        need(len(shape) == 4 and shape[1] in (3, 4), "an image is (N, 3 or 4, H, W)", self.tensor)
        need(self.tensor.dtype == torch.float32, "an image is float32", self.tensor)


@dataclass(frozen=True, eq=False)
class Mask:
    """Where to repaint: float32 (N, 1, H, W) in [0, 1]; 1 repaints, 0 keeps."""

    tensor: Tensor

    def __post_init__(self) -> None:
        shape = self.tensor.shape
        need(len(shape) == 4 and shape[1] == 1, "a mask is (N, 1, H, W)", self.tensor)
        need(self.tensor.dtype == torch.float32, "a mask is float32", self.tensor)


@dataclass(frozen=True)
class Inpainting:
    """How a sampler fits the repainted part to the known one; `inpainting` has the mathematics.

    Args:
        method: `blend` sets the known part before each evaluation; `repaint` goes back and forth `repeats` times
            a step; `channels` is for networks that take the mask and the known part as input; `guided` steers
            by the gradient of the known part's likelihood; `exact` is for models whose posterior is a formula.
        repeats: how often `repaint` makes each step, at least 1.
        tolerance: standard deviation that `guided` and `exact` allow the known part to be off by, above 0.
    """

    method: InpaintMethod = "blend"
    repeats: int = 10
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        if self.method not in get_args(InpaintMethod):
            raise ValueError(f"no way to inpaint is called {self.method!r}; choose from {get_args(InpaintMethod)}")
        if self.repeats < 1 or self.tolerance <= 0:
            raise ValueError(f"need repeats of 1 or more and a tolerance above 0; got {self}")


@dataclass(frozen=True, eq=False)
class Shown:
    """What a network sees of pictures beside the noise: `channels` (N or 1, K, ...) of the latent's size, and for
    some what an image encoder says of them, `states` (N or 1, T, D)."""

    channels: Tensor
    states: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Latent:
    """A sample in the space where diffusion happens: (N, C, ...), with an optional mask (N or 1, 1, ...).

    Only where the mask is 1 is the latent repainted, as `inpainting` says; without a mask it is repainted
    everywhere. `shown` is what the network sees beside it. `known` is the clean latent of what the mask keeps,
    where a sampler has left `tensor` noisy.
    """

    tensor: Tensor
    mask: Tensor | None = None
    inpainting: Inpainting = Inpainting()
    shown: Shown | None = None
    known: Tensor | None = None

    def __post_init__(self) -> None:
        need(self.tensor.ndim >= 3, "a latent is (N, C, ...)", self.tensor)
        need(self.tensor.is_floating_point(), "a latent holds floating-point numbers", self.tensor)
        if self.mask is not None:
            fits = self.mask.shape[1:2] == (1,) and self.mask.shape[2:] == self.tensor.shape[2:]
            fits = fits and len(self.mask) in (1, len(self.tensor))
            what = f"the mask of a latent {tuple(self.tensor.shape)} is (N or 1, 1, ...) of its size"
            need(fits, f"{what}, one for all items or one for each", self.mask)
        if self.known is not None:
            need(self.known.shape == self.tensor.shape, "what is known has the latent's shape", self.known)

    @property
    def kept(self) -> Tensor:
        """The clean latent of what the mask keeps."""
        return self.tensor if self.known is None else self.known


@dataclass(frozen=True, eq=False)
class Sigmas:
    """Standard deviations of the noise that a sampler walks down: 1-D, strictly decreasing, steps + 1 values."""

    tensor: Tensor

    def __post_init__(self) -> None:
        need(self.tensor.ndim == 1 and len(self.tensor) >= 2, "sigmas are 1-D, two or more", self.tensor)
        if not bool((self.tensor[:-1] > self.tensor[1:]).all()) or float(self.tensor[-1]) < 0:
            raise ValueError(f"sigmas must decrease strictly and not fall below 0; got {self.tensor.tolist()}")

    @property
    def steps(self) -> int:
        """How many steps a sampler takes over them."""
        return len(self.tensor) - 1


@dataclass(frozen=True, eq=False)
class Condition:
    """One thing that guides: a text embedding, a label, or both, and where and when it acts.

    Args:
        embedding: (N, T, D) with its `mask` (N, T), true where there is a token.
        pooled: (N, P), one vector for all of the text.
        label: class number, for models that are conditioned on classes; several are one for each item.
        strength: weight; what the weights of a conditioning leave below 1 is left to the opposite one.
        region: (1, 1, h, w) weights in latent space; None acts everywhere.
        start, end: shares of the schedule between which it acts.
        concat: (N or 1, K, ...), channels that a network takes beside the noisy latent, such as a mask.
        states: (N or 1, T, D), what an image encoder says of a picture.
        controls: pictures that the prediction follows, each through a ControlNet.
        numbers: sizes that a network is told beside the text; None leaves them to it.
    """

    embedding: Tensor | None = None
    mask: Tensor | None = None
    pooled: Tensor | None = None
    label: int | tuple[int, ...] | None = None
    strength: float = 1.0
    region: Tensor | None = None
    start: float = 0.0
    end: float = 1.0
    concat: Tensor | None = None
    states: Tensor | None = None
    controls: tuple[Control, ...] = ()
    numbers: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Control:
    """A picture (1 or N, 3, H, W) in [0, 1] to follow, the ControlNet that reads it, and how strongly."""

    checkpoint: Checkpoint
    hint: Tensor
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What guides a sampler: one condition, or several whose predictions are averaged by strength and region."""

    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        if not self.conditions:
            raise ValueError("a conditioning holds at least one condition")


@dataclass(frozen=True)
class StyleCode:
    """How much of each style: names with their shares, which sum to 1."""

    shares: tuple[tuple[str, float], ...]

    def __post_init__(self) -> None:
        if not self.shares or min(share for _, share in self.shares) < 0:
            raise ValueError("a style code holds at least one style, and no share below 0")


@dataclass(frozen=True, eq=False)
class Classifier:
    """Weights of a network that tells the class of a noisy latent; `classifier` has its architecture.

    Args:
        weights: of the layers, each (out, in), and `biases` (out,).
        shape: of one latent, (C, ...).
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ScaleWindow:
    """Classifier-free guidance from `start` to `end` of the schedule only; elsewhere its scale is 1."""

    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class PerturbedAttention:
    """Move away from what the network says when each place of some blocks' self-attention sees itself alone.

    No numbers of `blocks` stand for those that the network itself names.
    """

    scale: float
    blocks: tuple[int, ...] = ()
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, eq=False)
class ClassifierTerm:
    """Move towards a class as a classifier sees it; `classifier` None is an exact model's own."""

    label: int
    scale: float
    classifier: Classifier | None = None
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True, eq=False)
class Guidance:
    """What guides beside the conditioning: terms that wrap the denoiser, the first one innermost."""

    terms: tuple[ScaleWindow | PerturbedAttention | ClassifierTerm, ...] = ()


@dataclass(frozen=True)
class Parametrization:
    """What a network predicts, and how its timesteps relate to sigmas.

    Args:
        prediction: the network's output.
        law: the law of training noise: a discrete beta schedule of 1,000 timesteps, flow matching, or none.
        sigma_min, sigma_max: the sigmas that schedules span by default.
        shift: of the flow's times, towards noise where above 1.
        zero_snr: the discrete law is rescaled so that its last timestep is pure noise.
        token_shift: where the shift grows with the picture, its logarithm at 256 and at 4,096 tokens of 16 x 16
            pixels; `shift` is then that of a picture whose size is not told.
    """

    prediction: Prediction
    law: Law
    sigma_min: float
    sigma_max: float
    shift: float = 1.0
    zero_snr: bool = False
    token_shift: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.prediction not in get_args(Prediction):
            raise ValueError(f"no prediction is called {self.prediction!r}; choose from {get_args(Prediction)}")
        if self.law not in get_args(Law):
            raise ValueError(f"no law is called {self.law!r}; choose from {get_args(Law)}")
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(f"need 0 < sigma_min < sigma_max; got {self.sigma_min} and {self.sigma_max}")


@dataclass(frozen=True, eq=False)
class Weights:
    """A trained model as a value: its tensors by name, and in JSON what they are and how they fit together."""

    config: str
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """Which weights: the name they were asked for by, the digest of their content, and their family.

    `weights` carries those that were trained in a graph and are in no file. `part` is the one network that is
    meant of a diffusers folder, where it is not the whole: `transformer_2`, `image_encoder`.
    """

    name: str
    digest: str
    family: str
    weights: Weights | None = field(default=None, compare=False, repr=False)
    part: str = ""


@dataclass(frozen=True)
class Adapter:
    """A file that changes a loaded network, such as a LoRA or a learned word: its digest, and how strongly."""

    name: str
    digest: str
    strength: float = 1.0


@dataclass(frozen=True)
class LowNoise:
    """The network that takes over below the flow time `boundary`, in (0, 1), of a model that has two; there its
    `guidance_scale` holds, or where that is None the sampler's."""

    checkpoint: Checkpoint
    boundary: float
    adapters: tuple[Adapter, ...] = ()
    guidance_scale: float | None = None


@dataclass(frozen=True)
class Model:
    """A denoising network, by its checkpoint, how it is sampled, and what changes it, in order.

    `wrap` says along which sides its pictures continue at the opposite one, so that they tile; `low` is a second
    network for little noise, read as the first one is.
    """

    checkpoint: Checkpoint
    parametrization: Parametrization
    adapters: tuple[Adapter, ...] = ()
    wrap: Wrap | None = None
    low: LowNoise | None = None


@dataclass(frozen=True)
class TextEncoder:
    """A text encoder, by its checkpoint, the styles that it knows, what changes it, and words it has learned.

    `files` are its networks where each is in a file of its own; `checkpoint` then says the family that they are
    for. `tokenizer` is a file that says how words become tokens, where the family's files do not carry it.
    """

    checkpoint: Checkpoint
    styles: tuple[str, ...] = ()
    adapters: tuple[Adapter, ...] = ()
    words: tuple[Adapter, ...] = ()
    files: tuple[Checkpoint, ...] = ()
    tokenizer: Adapter | None = None


@dataclass(frozen=True)
class ControlNet:
    """A network that makes a denoiser follow a picture, by its checkpoint."""

    checkpoint: Checkpoint


@dataclass(frozen=True)
class ImageEncoder:
    """A network that says what is in a picture, by its checkpoint."""

    checkpoint: Checkpoint


@dataclass(frozen=True)
class VAE:
    """What turns images into latents and back, by its checkpoint.

    Args:
        latent_channels: channels of the latent.
        downscale: pixels to a latent pixel, along each side.
        size: width and height in pixels that the model was made for.
        wrap: along which sides pictures continue at the opposite one.
        multiple: latent pixels that the sides of a latent to paint are multiples of.
    """

    checkpoint: Checkpoint
    latent_channels: int
    downscale: int
    size: int
    wrap: Wrap | None = None
    multiple: int = 1

    def latent_sides(self, **pixels: int) -> list[int]:
        """Sides of a latent for sides in pixels, by name. Raises ValueError where the model cannot paint one."""
        step = self.downscale * self.multiple
        for name, side in pixels.items():
            if side < step or side % step:
                nearest = sorted({max(step, side // step * step), (side // step + 1) * step})
                raise ValueError(
                    f"{name} is {side} pixels, and {self.checkpoint.name} paints sides that are multiples of "
                    f"{step}: use {' or '.join(map(str, nearest))}"
                )
        return [side // self.downscale for side in pixels.values()]
