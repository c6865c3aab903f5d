"""Convert PP-OCRv6 small from ONNX: `python -m bench.training.convert_ppocr IN.onnx OUT`.

The ONNX comes in PyPI's `rapidocr` wheel (`rapidocr/models/PP-OCRv6_rec_small.onnx`, Apache-2.0);
reading it takes `pip install onnx`. Convolutions and matrix products are taken in the order of the
graph, which is that of the network; the head's 18,710 rows are cut to the blank and ASCII.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.core.errors import UserError
from bench.core.files import content_hash
from bench.training.files import export
from models.alphabet import ALPHABET
from models.ppocr_hub import TRAINED_ON
from models.ppocr_net import PPOCRConfig, PPOCRNet

Array = NDArray[np.float32]


def convert(path: Path) -> PPOCRNet:
    """Build the network with the weights of the ONNX file.

    Raises:
        UserError: `onnx` is not installed, or this is another network.
    """
    try:
        import onnx  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise UserError("reading ONNX needs a package: pip install onnx") from error
    graph = Graph(onnx.load(str(path)), onnx.numpy_helper.to_array)
    rows = [graph.alphabet.index(symbol) for symbol in ALPHABET]
    net = PPOCRNet(replace(PPOCRConfig(), alphabet=len(rows)))
    with torch.no_grad():
        for own, (weight, bias) in zip(net.layers(), graph.layers(), strict=True):
            if own is net.stem.first:
                weight = weight.sum(1, keepdims=True)  # of three equal grey channels
            elif own is net.ctc:
                weight, bias = weight[rows], bias[rows]
            own.weight.copy_(_fitting(weight, own.weight))
            own.bias.copy_(_fitting(bias, own.bias))
    return net.eval()


class Graph:
    """The nodes of an ONNX graph, and the constants among their inputs."""

    def __init__(self, model: Any, to_array: Any) -> None:
        graph = model.graph
        self.constants: dict[str, Array] = {i.name: to_array(i) for i in graph.initializer}
        self.nodes = []
        for node in graph.node:
            if node.op_type == "Constant":
                self.constants[node.output[0]] = to_array(node.attribute[0].t)
            else:
                self.nodes.append(node)
        names = {entry.key: entry.value for entry in model.metadata_props}
        # The blank comes first; the file leaves the space out, which comes last.
        self.alphabet = ("", *names["character"].split("\n"), " ")

    def layers(self) -> Iterator[tuple[Array, Array]]:
        """Weight and bias of each convolution, matrix product and norm, in the graph's order."""
        for place, node in enumerate(self.nodes):
            weight = self.constants.get(node.input[1]) if len(node.input) > 1 else None
            if weight is None:
                continue
            if node.op_type == "Conv":
                after = self._reader(place)
                if after.op_type == "BatchNormalization":
                    yield self._folded(weight, after)
                else:
                    yield weight, self._constant(after).ravel()
            elif node.op_type == "MatMul":
                yield weight.T, self._constant(self._reader(place))
            elif node.op_type == "Mul" and weight.ndim == 1 and len(weight) > 1:
                yield weight, self._constant(self._reader(place))

    def _reader(self, place: int) -> Any:
        """The first node that reads a node's output."""
        output = self.nodes[place].output[0]
        for later, node in enumerate(self.nodes[place + 1 :], place + 1):
            if output in node.input:
                return self._reader(later) if node.op_type == "Identity" else node
        raise UserError("this is no PP-OCRv6 small recogniser: nothing reads a layer")

    def _constant(self, node: Any) -> Array:
        if node.op_type != "Add" or node.input[1] not in self.constants:
            raise UserError("this is no PP-OCRv6 small recogniser: a layer lacks its bias")
        return self.constants[node.input[1]]

    def _folded(self, weight: Array, norm: Any) -> tuple[Array, Array]:
        scale, bias, mean, variance = (self.constants[name] for name in norm.input[1:5])
        epsilon = next(a.f for a in norm.attribute if a.name == "epsilon")
        factor = scale / np.sqrt(variance + epsilon)
        return weight * factor[:, None, None, None], bias - mean * factor


def _fitting(values: Array, like: nn.Parameter) -> Tensor:
    tensor = torch.from_numpy(np.array(values, np.float32))
    if tensor.numel() != like.numel():
        raise UserError(
            f"this is no PP-OCRv6 small recogniser: {tuple(tensor.shape)} instead of "
            f"{tuple(like.shape)}"
        )
    return tensor.view(like.shape)


def main() -> None:
    """Convert a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    notes = {
        "architecture": "kaidoku-ppocr-1",
        "source": f"PP-OCRv6_rec_small.onnx {content_hash(arguments.onnx)}",
        "license": "Apache-2.0",
        "trained_on": TRAINED_ON,
    }
    export(arguments.out, convert(arguments.onnx).state_dict(), None, notes)


if __name__ == "__main__":
    main()
