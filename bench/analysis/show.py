"""Module trees of encoders and decoders with shapes and parameter counts.

Shapes are observed, not declared: forward hooks note the first output of every module while
real lines go through. A module without a shape was not called on that way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Node:
    """One module of a tree.

    parameters: those of the whole sub-tree, shared ones counted once.
    shape: of the first tensor returned by its first call; None if not called.
    """

    name: str
    kind: str
    parameters: int
    shape: Shape | None
    children: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Branch:
    """One line of a printed tree: a node, or a run of `repeats` stacked layers, all alike."""

    depth: int
    name: str
    node: Node
    repeats: int = 1


def module_tree(module: torch.nn.Module, run: Callable[[], object]) -> Node:
    """The tree of a module with the shapes seen while `run` uses it."""
    shapes: dict[torch.nn.Module, Shape | None] = {}

    def note(called: torch.nn.Module, _inputs: object, output: object) -> None:
        shapes.setdefault(called, next(_shapes(output), None))

    handles = [part.register_forward_hook(note) for part in module.modules()]
    try:
        with torch.inference_mode():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return _node("", module, shapes)


def branches(root: Node) -> list[Branch]:
    """The lines of a tree; stacked layers (numbered siblings) that are alike become one line."""
    return list(_branches(Branch(0, root.name or root.kind, root)))


def _node(name: str, module: torch.nn.Module, shapes: Mapping[Any, Shape | None]) -> Node:
    return Node(
        name=name,
        kind=type(module).__name__,
        parameters=sum(p.numel() for p in module.parameters()),
        shape=shapes.get(module),
        children=tuple(_node(n, child, shapes) for n, child in module.named_children()),
    )


def _shapes(output: object) -> Iterator[Shape]:
    """Shapes of the tensors in what a module returns (tensor, tuple, dict or model output)."""
    if isinstance(output, torch.Tensor):
        yield tuple(output.shape)
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from _shapes(value)
    elif isinstance(output, (tuple, list)):
        for value in output:
            yield from _shapes(value)


def _branches(branch: Branch) -> Iterator[Branch]:
    yield branch
    for _, group in groupby(branch.node.children, key=_likeness):
        alike = list(group)
        first, last = alike[0], alike[-1]
        name = first.name if len(alike) == 1 else f"{first.name}-{last.name}"
        yield from _branches(Branch(branch.depth + 1, name, first, len(alike)))


def _likeness(node: Node) -> Node:
    """A key that is equal for stacked layers that differ only in weights."""
    return dataclasses.replace(node, name="") if node.name.isdigit() else node
