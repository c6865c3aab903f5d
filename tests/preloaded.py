"""Import and hash what every run needs, for the fork server of the fault tests.

This is most of a run's time, so only that server imports it.
"""

import importlib

from numba.core.registry import cpu_target

from bench.core.hashing import code_version
from bench.pipeline.cells import measuring_version

MODULES = (
    "bench.cli.bars", "bench.cli.run", "datasets.damage.missing", "datasets.damage.overlay",
    "datasets.lines", "datasets.unipen", "decoders.ctc.greedy", "decoders.ctc.ngram",
    "models.shipped_encoders", "numba.core.codegen",
)  # fmt: skip

for module in MODULES:
    importlib.import_module(module)
    code_version((module,))
measuring_version()
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
