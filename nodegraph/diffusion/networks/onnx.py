"""Networks as ONNX: run by onnxruntime, and made from our own.

A file is a program of tensor operations. Those that this build of onnxruntime does not know are refused by it, and
files that name other files (external data) or operators of other libraries are refused here.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class OnnxNetwork:
    """An ONNX file, ready to run.

    Args:
        path: of the file.
        device: `cuda:0` uses the CUDA provider where onnxruntime has one, else the CPU does the work.

    Raises:
        ValueError: the file is none that can be run, or onnxruntime is not there.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(f"onnxruntime cannot be imported ({error}); install it to run ONNX files") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that spin while they wait slow a busy machine down many times over.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        there = onnxruntime.get_available_providers()
        wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
        providers = [name for name in (*wanted, "CPUExecutionProvider") if name in there]
        try:
            # From memory: a file that names other files beside it is refused instead of followed.
            self._session: Any = onnxruntime.InferenceSession(path.read_bytes(), options, providers=providers)
        except Exception as error:
            first = str(error).splitlines()[0][:300]
            raise ValueError(f"{path} cannot be run as an ONNX network: {first}") from None
        self.path = path
        self.inputs = {one.name: (one.type, tuple(one.shape)) for one in self._session.get_inputs()}
        self.outputs = [one.name for one in self._session.get_outputs()]
        self.providers: list[str] = self._session.get_providers()

    def __call__(self, **given: Tensor) -> list[Tensor]:
        """The outputs for inputs by name, in float32 on the host.

        Raises:
            ValueError: an input is missing, of another shape, or the network fails.
        """
        if given.keys() != self.inputs.keys():
            raise ValueError(f"{self.path} takes {', '.join(self.inputs)}; got {', '.join(given)}")
        arrays: dict[str, Any] = {}
        for name, tensor in given.items():
            kind, shape = self.inputs[name]
            if kind not in _TYPES:
                raise ValueError(f"{self.path}: the input {name} is a {kind}, which is not supported")
            fixed = [(i, side) for i, side in enumerate(shape) if isinstance(side, int)]
            if len(shape) != tensor.ndim or any(tensor.shape[i] != side for i, side in fixed):
                raise ValueError(f"{self.path} takes {name} of shape {list(shape)}; got {list(tensor.shape)}")
            arrays[name] = np.ascontiguousarray(tensor.detach().cpu().numpy().astype(_TYPES[kind]))
        try:
            made = self._session.run(None, arrays)
        except Exception as error:
            raise ValueError(f"{self.path} failed: {str(error).splitlines()[0][:300]}") from None
        return [torch.from_numpy(np.asarray(one)).float() for one in made]


def export(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]],
) -> bytes:
    """A network as the bytes of an ONNX file, in float32. The network itself is left as it is.

    Args:
        network: called with the inputs in order.
        inputs: examples by name; their sides stand for the sides that are not dynamic.
        outputs: names of what it gives, an input's name with an underscore where both share one.
        dynamic: for an input, the axes that may have any size, with their names.

    Raises:
        ValueError: onnxscript is not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise ValueError(
            "writing ONNX files needs the package onnxscript; install it with: pip install nodegraph[onnx]"
        ) from None
    sizes: dict[str, Any] = {}
    shapes = []
    for name in inputs:
        axes = dynamic.get(name, {})
        shapes.append(
            {i: sizes.setdefault(word, torch.export.Dim(word, min=1, max=65536)) for i, word in axes.items()}
        )
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")  # of torch about itself
            program = torch.onnx.export(
                copy.deepcopy(network).cpu().float().eval(),  # others paint with it, in their dtype, where it is
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=[f"{name}_" if name in inputs else name for name in outputs],
                dynamic_shapes=tuple(shapes),
                dynamo=True,
                verbose=False,
            )
    finally:
        logger.setLevel(level)
    if program is None:
        raise ValueError("torch could not write the network as ONNX")
    proto = program.model_proto
    # torch notes with every operation the source file and line that it came from: paths of this machine.
    for part in (*proto.graph.node, *proto.graph.value_info, *proto.graph.initializer, *proto.graph.input):
        del part.metadata_props[:]
        part.doc_string = ""
    return bytes(proto.SerializeToString())
