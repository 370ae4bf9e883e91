"""The package a second time in one process, from another folder.

It imports itself by its one name, so the modules that have the name make way while the other ones are imported. Only
its public functions are used: inside, another commit may be another house.
"""

import importlib
import sys
from pathlib import Path

import numpy as np

_NAME = "fastlsm"


def load(folder):
    """The `fastlsm` in the folder. `import fastlsm` goes on meaning the one that it meant."""
    here, other = _take_out(), {}
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        package = importlib.import_module(_NAME)
        _warm_up(package)
    except ImportError as error:
        raise SystemExit(f"what is in {folder} cannot be imported: {error}") from None
    finally:
        sys.path.remove(str(folder))
        other = _take_out()
        sys.modules.update(here)
    for module in other.values():
        if Path(folder) not in Path(module.__file__).parents:
            raise SystemExit(f"{module.__file__} was imported in place of what is in {folder}")
        if any(module.__file__ == own.__file__ for own in here.values()):
            raise SystemExit(f"what is in {folder} is what is installed: there is nothing to compare")
    return package


def _take_out():
    """The package's modules, which are no longer imported."""
    names = [name for name in sys.modules if name.partition(".")[0] == _NAME]
    return {name: sys.modules.pop(name) for name in names}


def _warm_up(package):
    """What is imported at the first call only is imported now, while the name is its own."""
    package.get_num_threads()
    package.show_config("dicts")
    x = np.zeros((2, 3), np.float32)
    package.log_softmax_backward(x, package.log_softmax(x))
    package.log_softmax_backward(x, dst=x)


def describe(package):
    config = package.show_config("dicts")
    return {
        "file": package.__file__,
        "instruction set": config["instruction sets"]["chosen"],
        "compiler": config["build"]["compiler"],
        "OpenMP": config["OpenMP"]["library"],
        "threads": config["threads"]["count"],
    }
