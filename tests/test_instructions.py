"""The machine code of each level's module: nothing in it that a processor of that level may lack."""

import sys
from importlib.util import find_spec

import pytest

from fastlsm import _runtime

iced_x86 = pytest.importorskip("iced_x86")
ELFFile = pytest.importorskip("elftools.elf.elffile").ELFFile
SH_FLAGS = pytest.importorskip("elftools.elf.constants").SH_FLAGS

X86_64 = [level for level in ("baseline", "v3", "v4") if level in _runtime.built_levels()]
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="reads ELF"),
    pytest.mark.skipif(not X86_64, reason="reads x86-64"),
]

# In the disassembler's names, what each level adds to the one before. INTEL*, X64 and FPU are the processor itself.
ADDED = {
    "baseline": "INTEL8086 INTEL186 INTEL286 INTEL386 INTEL486 X64 FPU CPUID CMOV CX8 FXSR MMX SSE SSE2",
    "v3": "SSE3 SSSE3 SSE4_1 SSE4_2 CX16 POPCNT AVX AVX2 BMI1 BMI2 F16C FMA LZCNT MOVBE XSAVE",
    "v4": "AVX512F AVX512BW AVX512CD AVX512DQ AVX512VL",
}
# What older processors pass over as an empty instruction: padding, landing pads of indirect jumps, spin hints.
PASSED_OVER = {"MULTIBYTENOP", "CET_IBT", "PAUSE"}
# The compiler's own processor probe, once CPUID has said that this exists: which registers does the system save?
PROBE = {"xgetbv"}
# An older processor takes tzcnt for bsf, whose result is the same for any number but 0; so compilers use it everywhere.
AS_BSF = "tzcnt "


def allowed(level):
    levels = list(ADDED)
    return {name for known in levels[: levels.index(level) + 1] for name in ADDED[known].split()} | PASSED_OVER


def features_in(level):
    """By the name of each CPUID feature, one instruction of the level's module that needs it."""
    names = {number: name for name, number in vars(iced_x86.CpuidFeature).items() if isinstance(number, int)}
    found = {}
    with open(find_spec(f"fastlsm._kernels_{level}").origin, "rb") as file:
        for section in ELFFile(file).iter_sections():
            if section["sh_flags"] & SH_FLAGS.SHF_EXECINSTR:
                for instruction in iced_x86.Decoder(64, section.data(), ip=section["sh_addr"]):
                    assert instruction, f"not an instruction at {instruction.ip:#x}"
                    if str(instruction) not in PROBE and not str(instruction).startswith(AS_BSF):
                        for feature in instruction.cpuid_features():
                            found.setdefault(names[feature], f"{instruction.ip:#x}: {instruction}")
    return found


@pytest.mark.parametrize("level", X86_64)
def test_no_instruction_past_the_level(level):
    found = features_in(level)
    assert {name: found[name] for name in found.keys() - allowed(level)} == {}


@pytest.mark.parametrize(("level", "feature"), [("baseline", "SSE2"), ("v3", "FMA"), ("v4", "AVX512F")])
def test_the_disassembler_sees_what_a_level_has(level, feature):
    if level not in X86_64:
        pytest.skip(f"{level} is not built")
    assert feature in features_in(level)
