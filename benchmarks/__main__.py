"""Start: options and environment first, imports of the libraries that read the environment after."""

import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from benchmarks import environment, options


def uncover_installed_package():
    """Take the clone off the path if its `fastlsm/` is not compiled and so hides the installed package."""
    root = Path(__file__).resolve().parents[1]
    if not any(path.name.endswith(suffix) for suffix in EXTENSION_SUFFIXES for path in (root / "fastlsm").iterdir()):
        sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != root]


def main():
    chosen = options.parse()
    uncover_installed_package()
    environment.prepare(chosen)
    from benchmarks import command

    return command.run(chosen)


if __name__ == "__main__":
    sys.exit(main())
