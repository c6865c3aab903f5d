"""A device that only claims to be another: its tensors lie on the CPU, apart from the CPU's own.

It refuses operands of two devices, and counts operations and waits, so that code can be tested for
a graphics card without one. A wait is what makes the host wait for the device: a value that is
read, a copy to the CPU, a shape that depends on values.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "other"

_WAITING = {
    "_local_scalar_dense", "equal", "masked_select", "nonzero", "unique_dim", "unique_consecutive",
    "_unique2", "_unique",
}  # fmt: skip
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}

counts: Counter[str] = Counter()  # "operations", "waits", and each wait by its operator


class OtherTensor(torch.Tensor):
    """A tensor of the device; `own` is its content on the CPU."""

    own: torch.Tensor

    @staticmethod
    def __new__(cls, own: torch.Tensor) -> OtherTensor:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            own.shape,
            strides=own.stride(),
            storage_offset=own.storage_offset(),
            dtype=own.dtype,
            device=torch.device(NAME, 0),
            requires_grad=own.requires_grad,
        )
        made.own = own
        return made

    def data_ptr(self) -> int:
        return self.own.data_ptr()

    def untyped_storage(self) -> Any:
        return self.own.untyped_storage()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OtherTensor({self.own!r})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # Autograd gives views a version counter, which tensors of inference have not.
        with torch.inference_mode(False), torch.no_grad():
            return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operator on the CPU and note what it would have cost."""
    if func._can_decompose():  # a composite one, which inference mode does not take apart
        return func.decompose(*args, **kwargs)
    flat, spec = tree_flatten((args, kwargs))
    tensors = [each for each in flat if isinstance(each, torch.Tensor)]
    name = func._schema.name.partition("::")[2]
    if name == "_has_compatible_shallow_copy_type":
        return len(set(map(type, tensors))) == 1
    moves = name in ("_to_copy", "copy_")
    mine = [each for each in tensors if isinstance(each, OtherTensor)]
    if mine and not moves:
        # Indices may lie on the CPU, as a graphics card takes them.
        operands = tree_flatten(args[::2])[0] if name in _INDEXING else tensors
        for each in filter(torch.is_tensor, operands):
            if not isinstance(each, OtherTensor) and each.ndim:
                raise RuntimeError(f"{func}: operands on {NAME} and {each.device}")
    device = kwargs.get("device")
    to_other = bool(mine) if device is None else torch.device(device).type == NAME
    if name == "copy_":
        to_other = isinstance(args[0], OtherTensor)
    leaves = mine and not to_other
    counts["operations"] += 1
    masks = name in _INDEXING and any(
        index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
    )
    if name in _WAITING or masks or (moves and leaves):
        counts["waits"] += 1
        counts[f"waits: {name}"] += 1
    plain = [each.own if isinstance(each, OtherTensor) else each for each in flat]
    places = {
        id(p): each for p, each in zip(plain, flat, strict=True) if isinstance(each, OtherTensor)
    }
    plain_args, plain_kwargs = tree_unflatten(plain, spec)
    if device is not None:
        plain_kwargs = {**plain_kwargs, "device": torch.device("cpu")}
    out = func(*plain_args, **plain_kwargs)

    def wrapped(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not to_other:
            return value
        return places[id(value)] if id(value) in places else OtherTensor(value)

    return tree_map(wrapped, out)


def _made(func: Any, *args: Any, **kwargs: Any) -> Any:
    with torch.inference_mode(False), torch.no_grad():
        return run(func, args, kwargs)


class _Module(_DummyBackendModule):
    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


_library: Any = None


def register() -> None:
    """Make torch know the device, once a process."""
    global _library
    if _library is not None:
        return
    _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
    _library = torch.library.Library("_", "IMPL", "PrivateUse1")
    _library.fallback(_made)


class _Constants(TorchFunctionMode):
    """Make constants on the CPU first: `torch.tensor` asks for a device below the dispatcher."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor, torch.asarray) and kwargs.get("device"):
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args = (args[0], tree_map(_list_to_tensor, args[1], is_leaf=_is_list), *args[2:])
        return func(*args, **kwargs)


def _is_list(index: Any) -> bool:
    return isinstance(index, list)


def _list_to_tensor(index: Any) -> Any:
    return torch.tensor(index, dtype=torch.long) if isinstance(index, list) and index else index


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count from zero."""
    counts.clear()
    with _Constants():
        yield counts
