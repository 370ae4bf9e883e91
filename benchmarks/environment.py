"""What has to be said through the environment, before any library is imported."""

import os
import subprocess
import sys
import warnings

_NUMPY_FEATURES_ABOVE_AVX2 = """
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
names = [f for f in __cpu_dispatch__ if f.startswith(("AVX512", "X86_V4")) and __cpu_features__.get(f)]
print(*names)
"""


def prepare(options):
    threads = str(options.threads)
    os.environ.update(
        OMP_NUM_THREADS=threads,
        NUMBA_NUM_THREADS=threads,
        NPROC=threads,  # XLA's thread pool
        JAX_PLATFORMS="cpu",
        TF_CPP_MIN_LOG_LEVEL="3",
        TORCHINDUCTOR_COMPILE_THREADS="1",  # no idle worker processes beside the timings
    )
    if options.avx2:
        os.environ.update(avx2())
    warnings.simplefilter("ignore")  # JAX and PyTorch have much to say about forks and undonated buffers


def avx2():
    """Every library's own way to keep to AVX2; inductor's is an option of `torch.compile`."""
    disabled = subprocess.run(
        [sys.executable, "-c", _NUMPY_FEATURES_ABOVE_AVX2], capture_output=True, text=True, check=True
    ).stdout.strip()
    variables = {
        "FASTLSM_ISA": "v3",
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_max_isa=AVX2".strip(),
        "NUMBA_CPU_NAME": "haswell",
    }
    return variables | ({"NPY_DISABLE_CPU_FEATURES": disabled} if disabled else {})
