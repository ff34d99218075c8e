"""Networks through torch.compile: the first step takes a minute or more, those after it are faster."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

BACKEND = "inductor"
# How many batches, sizes, LoRAs, ControlNets and ways of attention and borders are kept, of all networks that
# diffusers calls through one and the same function. Beyond torch's own limit, 8, they would run as they were.
VARIANTS = 64
log = logging.getLogger("nodegraph.models")


def speed_up(network: nn.Module, name: str) -> None:
    """Compile a network when it is first called, and lay out its convolutions channels last.

    Where this machine cannot compile it, the log says so once and the network goes on as it was. `name` is for
    that message.
    """
    if not any(parameter.ndim == 5 for parameter in network.parameters()):  # those of frames have no such layout
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.forward = _Compiled(network.forward, name)


class _Compiled:
    """The forward of a network, compiled, until compiling fails."""

    def __init__(self, plain: Callable[..., Any], name: str) -> None:
        from torch._dynamo.exc import TorchDynamoException  # takes a second, which others need not wait for

        # What it traced through is of no use to who paints; that it failed is told below.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"torch\._(dynamo|inductor)\.")
        dynamo = torch._dynamo.config
        dynamo.recompile_limit = max(dynamo.recompile_limit, VARIANTS)
        self._failure = TorchDynamoException
        self._plain = plain
        self._fast: Callable[..., Any] | None = torch.compile(plain, backend=BACKEND)
        self._name = name

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        if self._fast is None or torch.compiler.is_compiling():  # the latter while it is exported
            return self._plain(*inputs, **options)
        try:
            return self._fast(*inputs, **options)
        except self._failure as error:
            # First without: where that fails too, the inputs are to blame and not the compiler.
            result = self._plain(*inputs, **options)
            self._fast = None
            log.warning(
                "%s could not be compiled and runs as it is: %s. Compiling takes a C++ compiler on a CPU and "
                "Triton on a GPU; install it, or leave out --compile",
                self._name,
                next(iter(str(error).splitlines()), type(error).__name__),
            )
            return result
