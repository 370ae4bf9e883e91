"""Builds fastlsm/_kernels.pyx once per instruction-set level; everything else is in pyproject.toml.

FASTLSM_STRICT=1      warnings of Cython and of the compiler are errors (what CI does)
FASTLSM_OPENMP=0      build without OpenMP, as where the compiler has none
FASTLSM_VECTOR_BYTES  vectors of this width, computed element by element: to test wider ones than the processor's
FASTLSM_LEVELS=v3,v4  build these levels only
FASTLSM_SANITIZE=...  build with -fsanitize=..., to be debugged rather than fast (`make sanitize`, `.ci/races`)
"""

import os
import sysconfig
import tempfile
from pathlib import Path

from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

STRICT = os.environ.get("FASTLSM_STRICT") == "1"

# Every level is the same source; fastlsm/_runtime.py picks the best that the processor has.
X86_64 = {
    "baseline": [],
    "v3": ["-march=x86-64-v3"],
    "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}
MACHINE = sysconfig.get_platform().rpartition("-")[2]  # also where another than the host's is compiled for
if MACHINE in ("x86_64", "amd64"):
    LEVELS = X86_64
elif MACHINE in ("arm64", "aarch64"):
    LEVELS = {"arm64": []}
else:
    LEVELS = {"generic": []}
if os.environ.get("FASTLSM_LEVELS"):
    LEVELS = {level: LEVELS[level] for level in os.environ["FASTLSM_LEVELS"].split(",")}

# No contraction that the source does not ask for, so that every level gives the same bits, and never
# -ffast-math, which gives other bits and sets flush-to-zero for the whole process.
FLAGS = [
    "-std=c++17",
    "-fno-exceptions",
    "-fno-rtti",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-g0",
]
if os.environ.get("FASTLSM_VECTOR_BYTES"):
    FLAGS += ["-DFASTLSM_VECTOR_BYTES=" + os.environ["FASTLSM_VECTOR_BYTES"], "-Wno-psabi"]
# For the .pyx and for all .pxd files.
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": True,
    "subinterpreters_compatible": "no",
}
WARNINGS = ["-Wall", "-Wextra", "-Werror"] if STRICT else []
SANITIZE = os.environ.get("FASTLSM_SANITIZE")
if SANITIZE:
    # What is read before it is written is a large number, and the same in each run.
    FLAGS += ["-O1", "-g1", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZE}", "-ftrivial-auto-var-init=pattern"]


class BuildExt(build_ext):
    """Adds OpenMP where the compiler has it; without, the kernels run on one thread."""

    def build_extensions(self):
        if os.environ.get("FASTLSM_OPENMP") != "0" and self.has_openmp():
            for extension in self.extensions:
                extension.extra_compile_args.append("-fopenmp")
                extension.extra_link_args.append("-fopenmp")
        self.parallel = self.parallel or True  # the levels at the same time
        super().build_extensions()

    def has_openmp(self):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "openmp.c")
            source.write_text("#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n")
            try:
                objects = self.compiler.compile([str(source)], folder, extra_postargs=["-fopenmp"])
                self.compiler.link_executable(objects, "openmp", folder, extra_postargs=["-fopenmp"])
            except Exception:  # whatever the compiler's way to fail is
                return False
        return True


def extensions():
    Options.warning_errors = STRICT
    included = [str(path) for kind in ("*.h", "*.hpp", "*.pxd") for path in sorted(Path("fastlsm").rglob(kind))]
    for level, flags in LEVELS.items():
        # One call and one folder a level: Cython wants one module to a source. It remembers a source's
        # compiler arguments from one call to the next, so they come after it.
        name = f"fastlsm._kernels_{level}"
        source = Extension(name, ["fastlsm/_kernels.pyx"], language="c++")
        (extension,) = cythonize([source], build_dir=f"build/cython/{level}", compiler_directives=DIRECTIVES)
        extension.language = "c"  # for the linker: nothing of C++'s library is used
        extension.include_dirs = ["fastlsm/include"]
        extension.depends = included
        extension.extra_compile_args = FLAGS + flags + WARNINGS
        extension.extra_link_args = [f"-fsanitize={SANITIZE}"] if SANITIZE else []
        yield extension


setup(ext_modules=list(extensions()), cmdclass={"build_ext": BuildExt})
