"""The contenders by name.

Each module here has `CONTENDERS`: for each name a function that takes a `Problem` and returns a `Prepared`, or raises
`NotApplicable` (the cell has nothing for it) or `Unsupported` (it should have, and is reported).
"""

from importlib import import_module
from types import MappingProxyType

from benchmarks.cases import matches
from benchmarks.rivals.prepared import NotApplicable, Prepared, Unsupported

__all__ = ["NotApplicable", "Prepared", "Unsupported", "load"]

MODULES = {
    "NumPy": "numpy_formula",
    "Numba": "numba_rival",
    "PyTorch": "torch_eager",
    "torch.compile": "torch_compiled",
    "JAX": "jax_jitted",
    "oneDNN": "onednn",
    "SciPy": "scipy_special",
}


def load(patterns=None, left_out=MappingProxyType({})):
    """(contenders, missing): functions by the contenders' names, reasons by the libraries' names.

    `left_out` has reasons, too: of the libraries that have to be named to take part.
    """
    contenders, missing = {}, {}
    for name, module in MODULES.items():
        if patterns and not any(matches(f"{name} {module}", pattern) for pattern in patterns):
            continue
        if name in left_out and not patterns:
            missing[name] = left_out[name]
            continue
        try:
            contenders |= import_module(f"{__name__}.{module}").CONTENDERS
        except (ImportError, OSError) as error:
            missing[name] = f"{type(error).__name__}: {error}"
    if patterns and not contenders and not missing:
        raise SystemExit(f"no such rival; there are {', '.join(MODULES)}")
    return contenders, missing
