"""Element-wise pieces of the Numba kernels, each of which LLVM vectorises when it is inlined in a loop.

Numba's own `math.exp` and `math.log` call the C library, one element at a time, unless Intel's SVML is installed, and
Numba has no 16-bit floating-point types on a CPU. So exp and log are polynomials here, and 16-bit elements come as
uint16 and are converted by LLVM's instructions (float16) or by moving bits (bfloat16).
"""

import math
from functools import cache

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.polynomial import Chebyshev, Polynomial

# nnan and ninf would let LLVM drop the conversions' handling of NaN and infinity; nothing here needs either.
FAST = {"reassoc", "nsz", "arcp", "contract", "afn"}
OPTIONS = {"fastmath": FAST, "error_model": "numpy"}


def _llvm_unary(name):
    """An LLVM intrinsic of one floating-point argument as a function for Numba."""

    @intrinsic
    def function(typing_context, x):
        def generate(context, builder, signature, arguments):
            return builder.call(builder.module.declare_intrinsic(name, [arguments[0].type]), arguments)

        return x(x), generate

    return function


rint = _llvm_unary("llvm.rint")


@intrinsic
def scale(typing_context, x, power):
    """x * 2**power, by adding to the exponent's bits; 64-bit integers only where x has 64 bits."""
    bits = ir.IntType(x.bitwidth)
    mantissa = ir.Constant(bits, 23 if x.bitwidth == 32 else 52)

    def generate(context, builder, signature, arguments):
        x_value, power_value = arguments
        # Through 32 bits: AVX2 has no conversion from float64 to 64-bit integers.
        integer = builder.fptosi(power_value, ir.IntType(32))
        if bits.width == 64:
            integer = builder.sext(integer, bits)
        shifted = builder.shl(integer, mantissa)
        return builder.bitcast(builder.add(builder.bitcast(x_value, bits), shifted), x_value.type)

    return x(x, power), generate


@intrinsic
def exponent(typing_context, x):
    """floor(log2(x / sqrt(1/2))), as a float: x divided by two to it is in [sqrt(1/2), sqrt(2))."""
    width, mantissa = (32, 23) if x.bitwidth == 32 else (64, 52)
    bits = ir.IntType(width)
    half_root = np.array(math.sqrt(0.5), f"f{width // 8}").view(f"i{width // 8}").item()

    def generate(context, builder, signature, arguments):
        offset = builder.sub(builder.bitcast(arguments[0], bits), ir.Constant(bits, half_root))
        integer = builder.ashr(offset, ir.Constant(bits, mantissa))
        if width == 64:
            integer = builder.trunc(integer, ir.IntType(32))
        return builder.sitofp(integer, arguments[0].type)

    return x(x), generate


@intrinsic
def _float16_to_float32(typing_context, x):
    """By moving the bits and making up for the exponents' offsets, exactly, if not for NaN and infinity.

    LLVM's own conversion vectorises as well, but it lets LLVM turn a maximum of float32 into one of float16, which
    does not.
    """

    def generate(context, builder, signature, arguments):
        wide = ir.IntType(32)
        shifted = builder.shl(builder.sext(arguments[0], wide), ir.Constant(wide, 13))
        moved = builder.and_(shifted, ir.Constant(wide, 0x8FFFE000))
        return builder.fmul(builder.bitcast(moved, ir.FloatType()), ir.Constant(ir.FloatType(), 2.0**112))

    return types.float32(types.uint16), generate


@intrinsic
def _float32_to_float16(typing_context, x):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(builder.fptrunc(arguments[0], ir.HalfType()), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def _bfloat16_to_float32(typing_context, x):
    def generate(context, builder, signature, arguments):
        wide = ir.IntType(32)
        shifted = builder.shl(builder.zext(arguments[0], wide), ir.Constant(wide, 16))
        return builder.bitcast(shifted, ir.FloatType())

    return types.float32(types.uint16), generate


@intrinsic
def _float32_to_bfloat16(typing_context, x):
    """To the nearest, ties to even; NaN may become infinity, as a kernel with fastmath may have it."""

    def generate(context, builder, signature, arguments):
        wide = ir.IntType(32)
        sixteen = ir.Constant(wide, 16)
        bits = builder.bitcast(arguments[0], wide)
        odd = builder.and_(builder.lshr(bits, sixteen), ir.Constant(wide, 1))
        rounded = builder.add(builder.add(bits, ir.Constant(wide, 0x7FFF)), odd)
        return builder.trunc(builder.lshr(rounded, sixteen), ir.IntType(16))

    return types.uint16(types.float32), generate


@njit(**OPTIONS)
def _as_it_is(x):
    return x


def conversions(dtype_name):
    """(load, store): an element of the array to the type of the arithmetic, and back."""
    if dtype_name == "bfloat16":
        return _bfloat16_to_float32, _float32_to_bfloat16
    if dtype_name == "float16":
        return _float16_to_float32, _float32_to_float16
    return _as_it_is, _as_it_is


@cache
def exp_for(real):
    """exp by 2**n * 2**f, n whole and f in [-1/2, 1/2]; arguments below the smallest normal number's count as its."""
    degree, lowest = (5, -87.0) if real is np.float32 else (11, -708.0)
    fit = Chebyshev.interpolate(np.exp2, degree, domain=[-0.5, 0.5]).convert(kind=Polynomial)
    coefficients = tuple(real(c) for c in fit.coef[::-1])
    leading, rest = coefficients[0], coefficients[1:]
    log2_e, lowest = real(1 / math.log(2)), real(lowest)

    @njit(**OPTIONS)
    def exp(x):
        x = max(x, lowest)
        whole = rint(x * log2_e)
        fraction = x * log2_e - whole
        power = leading
        for c in rest:
            power = power * fraction + c
        return scale(power, whole)

    return exp


@cache
def log_for(real):
    """log of positive normal numbers: log(2) * n + 2 * artanh(z), z = (m - 1) / (m + 1)."""
    terms = 5 if real is np.float32 else 11
    leading, rest = real(2 / (2 * terms - 1)), tuple(real(2 / (2 * k - 1)) for k in range(terms - 1, 0, -1))
    log_2, one = real(math.log(2)), real(1)

    @njit(**OPTIONS)
    def log(x):
        n = exponent(x)
        m = scale(x, -n)
        z = (m - one) / (m + one)
        square = z * z
        series = leading
        for c in rest:
            series = series * square + c
        return n * log_2 + z * series

    return log
