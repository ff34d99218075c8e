"""A small classifier of noisy latents, for classifier guidance: its architecture and its training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from nodegraph.diffusion.values import Classifier

FREQUENCIES = 8


def log_probability(classifier: Classifier, x: Tensor, sigma: float | Tensor) -> Tensor:
    """log p(class | x) at a sigma: (N, classes) for x (N, *shape). `sigma` is a number or (N,).

    A multilayer perceptron over the scaled sample and sines of ln sigma. Raises ValueError for other shapes.
    """
    if tuple(x.shape[1:]) != classifier.shape:
        raise ValueError(
            f"the classifier was trained on latents {classifier.shape}, this one is {tuple(x.shape[1:])}"
        )
    level = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(len(x))[:, None]
    angles = level.log() / 4 * 2.0 ** torch.arange(FREQUENCIES // 2, dtype=x.dtype, device=x.device)
    hidden = torch.cat([x.flatten(1) / (1 + level**2).sqrt(), angles.sin(), angles.cos()], 1)
    last = len(classifier.weights) - 1
    for index, (weight, bias) in enumerate(zip(classifier.weights, classifier.biases, strict=True)):
        hidden = functional.linear(hidden, weight.to(x), bias.to(x))
        if index < last:
            hidden = functional.silu(hidden)
    return hidden.log_softmax(1)


def train(
    items: Tensor,
    labels: Tensor,
    steps: int,
    *,
    seed: int = 0,
    width: int = 256,
    batch: int = 256,
    sigmas: tuple[float, float] = (0.02, 20.0),
) -> Iterator[tuple[Classifier, float]]:
    """Learn to tell the class of items (n, *shape) under noise of a log-uniform sigma.

    Yields after each step the classifier so far (its weights change in place until the last step) and the loss,
    the mean cross-entropy in nats.
    """
    generator = torch.Generator().manual_seed(seed)
    classes = int(labels.max()) + 1
    sides = [items[0].numel() + FREQUENCIES, width, width, classes]
    weights, biases = [], []
    for inward, outward in pairwise(sides):
        bound = 1 / math.sqrt(inward)
        weights.append((torch.rand(outward, inward, generator=generator) * 2 - 1) * bound)
        biases.append(torch.zeros(outward))
    classifier = Classifier(tuple(weights), tuple(biases), tuple(items.shape[1:]))
    parameters = [tensor.requires_grad_() for tensor in (*weights, *biases)]
    optimiser = torch.optim.AdamW(parameters, lr=2e-3, weight_decay=1e-2)
    low, high = (math.log(sigma) for sigma in sigmas)
    for step in range(steps):
        chosen = torch.randint(len(items), (batch,), generator=generator)
        level = (low + (high - low) * torch.rand(batch, generator=generator)).exp()
        noise = torch.randn(batch, *items.shape[1:], generator=generator)
        noisy = items[chosen] + level.view(-1, *[1] * (items.ndim - 1)) * noise
        loss = functional.nll_loss(log_probability(classifier, noisy, level), labels[chosen])
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - step / steps)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        yield classifier, float(loss.detach())


def frozen(classifier: Classifier) -> Classifier:
    """A copy whose weights are plain numbers: nothing trains them any more."""
    return Classifier(
        tuple(weight.detach().clone() for weight in classifier.weights),
        tuple(bias.detach().clone() for bias in classifier.biases),
        classifier.shape,
    )
