"""A small variational autoencoder whose first guess is a linear projection of picture patches.

Kingma and Welling, "Auto-Encoding Variational Bayes" (2013). Both halves start as the principal components of
4 x 4 patches, which is already a fair code for flat art, and learn a residual on top.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Autoencoder(nn.Module):
    """Pictures (N, 3, H, W) in [0, 1] to latents (N, channels, H / 4, W / 4), and back.

    Latents have mean 0 and, over all channels, a mean square of 1.

    Args:
        channels: latent channels.
        width: width of the convolutions at the coarsest resolution.
    """

    downscale = 4
    shift: Tensor
    scale: Tensor

    def __init__(self, channels: int = 12, width: int = 128) -> None:
        super().__init__()
        self.channels = channels
        self.width = width
        self.project = nn.Conv2d(3, channels, 4, stride=4)
        self.unproject = nn.ConvTranspose2d(channels, 3, 4, stride=4)
        self.inward = nn.Sequential(
            nn.Conv2d(3, width // 4, 3, stride=2, padding=1),
            _Residual(width // 4),
            nn.Conv2d(width // 4, width // 2, 3, stride=2, padding=1),
            _Residual(width // 2),
        )
        self.moments = nn.Conv2d(width // 2, 2 * channels, 1)
        self.outward = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            _Residual(width),
            _Residual(width),
            _up(width, width // 2),
            _Residual(width // 2),
            _Residual(width // 2),
            _up(width // 2, width // 4),
            _Residual(width // 4),
            nn.SiLU(),
        )
        self.colours = nn.Conv2d(width // 4, 3, 3, padding=1)
        self.register_buffer("shift", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        for layer in (self.moments, self.colours):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def posterior(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the raw latent of pictures (N, 3, H, W) in [0, 1]."""
        centred = image * 2 - 1
        mean, log_variance = self.moments(self.inward(centred)).chunk(2, dim=1)
        return self.project(centred) + mean, log_variance.clamp(-10, 4) - 4

    def reconstruct(self, raw: Tensor) -> Tensor:
        """Pictures (N, 3, H, W), not clipped, from raw latents."""
        return (self.unproject(raw) + self.colours(self.outward(raw)) + 1) / 2

    def encode(self, image: Tensor) -> Tensor:
        """The posterior's mean, shifted and scaled as `calibrate` found."""
        mean, _ = self.posterior(image)
        return (mean - self.shift[:, None, None]) / self.scale[:, None, None]

    def decode(self, latent: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [0, 1] from normalised latents."""
        raw = latent * self.scale[:, None, None] + self.shift[:, None, None]
        return self.reconstruct(raw).clamp(0, 1)

    @torch.no_grad()
    def calibrate(self, raw: Tensor) -> None:
        """Set shift and scale from raw latents (N, channels, h, w), so that a unit shows alike in every channel.

        Channels keep their natural energies: with unit variance each, a denoiser would spend as much on the grain
        of an edge as on the colour of a patch.
        """
        amplitude = self.unproject.weight.flatten(1).norm(dim=1)
        energy = (raw.std((0, 2, 3)) * amplitude).square().mean()
        self.shift.copy_(raw.mean((0, 2, 3)))
        self.scale.copy_(energy.sqrt() / amplitude)

    @torch.no_grad()
    def start_from_components(self, images: Tensor) -> None:
        """Set both projections to the principal components of the pictures' patches (N, 3, H, W)."""
        patches = functional.unfold(images * 2 - 1, 4, stride=4).transpose(1, 2).reshape(-1, 48)
        mean = patches.mean(0)
        centred = patches - mean
        variances, directions = torch.linalg.eigh(centred.T @ centred / len(patches))  # in rising order
        basis = directions.T.flip(0)[: self.channels]
        # Directions in which the pictures do not vary, as grey ones have, would be magnified into noise.
        deviations = variances.flip(0)[: self.channels].clamp(min=0).sqrt()
        deviations = deviations.clamp(min=1e-3 * float(deviations[0]) or 1.0)
        encode = basis / deviations[:, None]
        self.project.weight.copy_(encode.view(-1, 3, 4, 4))
        self.project.bias.copy_(-(encode @ mean))  # type: ignore[union-attr]
        self.unproject.weight.copy_((basis * deviations[:, None]).view(-1, 3, 4, 4))
        self.unproject.bias.zero_()  # type: ignore[union-attr]
        offset = mean.view(3, 4, 4).mean((1, 2))
        self.unproject.bias.copy_(offset)  # type: ignore[union-attr]


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv1(functional.silu(self.norm(x)))
        return x + self.conv2(functional.silu(hidden))


def _up(inward: int, outward: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inward, 4 * outward, 3, padding=1), nn.PixelShuffle(2))
