"""The options that say on what a command runs, as a `Runtime`."""

from __future__ import annotations

import argparse

from bench.core.types import Runtime

_Options = argparse.ArgumentParser | argparse._ArgumentGroup


def add_machine(options: _Options) -> None:
    """`--device` and `--threads`."""
    options.add_argument("--device", help="cpu, cuda, cuda:1, mps; default: cuda where it is there")
    options.add_argument("--threads", type=int, metavar="N", help="of torch; default: its choice")


def add_runtime(options: _Options) -> None:
    """The machine, the precision and the size of a batch."""
    options.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="default: %(default)s"
    )
    options.add_argument(
        "--dtype", default="float32", help="float32, bfloat16 or float16; default: %(default)s"
    )
    add_machine(options)


def runtime_of(args: argparse.Namespace) -> Runtime:
    """What `add_runtime` registered; of `add_machine` alone, in float32."""
    runtime = machine_of(args)
    return Runtime(runtime.device, args.dtype, args.batch_size, runtime.threads)


def machine_of(args: argparse.Namespace) -> Runtime:
    """What `add_machine` registered, in float32."""
    import torch

    return Runtime(
        device=args.device or ("cuda" if torch.cuda.is_available() else "cpu"),
        threads=torch.get_num_threads() if args.threads is None else args.threads,
    )
