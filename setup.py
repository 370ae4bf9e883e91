"""Builds fastlsm/_kernels.pyx once per instruction-set level; everything else is in pyproject.toml.

FASTLSM_STRICT=1      warnings of Cython and of the compiler are errors (what CI does)
FASTLSM_OPENMP=1      fail where the compiler has no OpenMP (releases for Linux set this); 0: build without
FASTLSM_VECTOR_BYTES  vectors of this width, computed element by element: to test wider ones than the processor's
FASTLSM_LEVELS=v3,v4  build these levels only
FASTLSM_SANITIZE=...  build with -fsanitize=..., to be debugged rather than fast (`make sanitize`, `.ci/races`)
"""

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

if sys.platform == "win32":
    raise SystemExit("fastlsm does not support Windows yet; it runs on Linux, under WSL too, and on macOS")

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import PlatformError

STRICT = os.environ.get("FASTLSM_STRICT") == "1"

# Every level is the same source; fastlsm/_runtime.py picks the best that the processor has.
X86_64 = {
    "baseline": [],
    "v3": ["-march=x86-64-v3"],
    "v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}
MACHINE = sysconfig.get_platform().rpartition("-")[2]  # the target's, when cross-compiling
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
    "auto_pickle": False,
    "binding": False,
    "freethreading_compatible": True,
    "subinterpreters_compatible": "no",
}
WARNINGS = ["-Wall", "-Wextra", "-Werror"] if STRICT else []
SANITIZE = os.environ.get("FASTLSM_SANITIZE")
if SANITIZE:
    # Variables that nobody has set hold the same large number in each run, so that a read of one shows.
    FLAGS += ["-O1", "-g1", "-fno-omit-frame-pointer", f"-fsanitize={SANITIZE}", "-ftrivial-auto-var-init=pattern"]


class BuildExt(build_ext):
    """Looks at the compiler, then runs Cython: neither is needed for the package's metadata.

    OpenMP is added where the compiler has it. Without, the kernels run on one thread.
    """

    def build_extensions(self):
        if not self.compiles("#include <Python.h>\n", FLAGS):
            raise PlatformError(
                "fastlsm has to be compiled here, which needs a compiler for C++17 (gcc 9 or newer, or clang) and "
                "Python's headers (Debian's package python3-dev), but a file that includes Python.h does not compile"
            )
        openmp = ["-fopenmp"] if self.has_openmp() else []
        source = cpp_source()
        for extension in self.extensions:
            extension.sources = [copy_for(extension, source)]
            extension.language = "c"  # C's linker: nothing of C++'s library is needed
            extension.extra_compile_args += openmp
            extension.extra_link_args += openmp
        self.parallel = self.parallel or True  # the levels at the same time
        super().build_extensions()

    def has_openmp(self):
        wanted = os.environ.get("FASTLSM_OPENMP")
        if wanted == "0":
            return False
        source = "#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }\n"
        has = self.compiles(source, ["-fopenmp"], link=True)
        if wanted == "1" and not has:
            raise PlatformError("FASTLSM_OPENMP=1 asks for OpenMP, but the compiler builds no program with -fopenmp")
        return has

    def compiles(self, text, flags, link=False):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.cpp")
            source.write_text(text)
            try:
                objects = self.compiler.compile([str(source)], folder, extra_postargs=flags)
                if link:
                    self.compiler.link_executable(objects, "probe", folder, extra_postargs=flags)
            except Exception:  # whatever the compiler's way to fail is
                return False
        return True


def cpp_source():
    """Cython's result, which is the same for all levels."""
    from Cython.Build import cythonize
    from Cython.Compiler import Options

    Options.warning_errors = STRICT
    plain = Extension("fastlsm._kernels", ["fastlsm/_kernels.pyx"], language="c++")
    (result,) = cythonize([plain], build_dir="build/cython", compiler_directives=DIRECTIVES)
    return Path(result.sources[0])


def copy_for(extension, source):
    """The source in a folder of the level. Object files are named after it: the levels' would overwrite each other."""
    folder = Path("build", extension.name.rpartition("_")[2])
    folder.mkdir(parents=True, exist_ok=True)
    return shutil.copy2(source, folder)


def extensions():
    included = [
        str(path) for kind in ("*.h", "*.hpp", "*.pxd", "*.pxi") for path in sorted(Path("fastlsm").rglob(kind))
    ]
    for level, flags in LEVELS.items():
        initializer = f"-DPyInit__kernels=PyInit__kernels_{level}"  # Cython names it after the source
        yield Extension(
            f"fastlsm._kernels_{level}",
            ["fastlsm/_kernels.pyx"],
            include_dirs=["fastlsm/include"],
            depends=included,
            extra_compile_args=FLAGS + flags + WARNINGS + [initializer],
            extra_link_args=[f"-fsanitize={SANITIZE}"] if SANITIZE else [],
        )


setup(ext_modules=list(extensions()), cmdclass={"build_ext": BuildExt})
