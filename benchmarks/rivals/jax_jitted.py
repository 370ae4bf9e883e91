"""JAX: the jitted formula, each result written into the last one's buffer, which is donated to it.

JAX's arrays are always in C order. So it gets the memory that it can have, with the axes as they lie there, and takes
a view's elements inside the jitted function, where XLA fuses that with the rest.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.rivals.prepared import NotApplicable, Prepared

jax.config.update("jax_enable_x64", True)


def _formula(form, axis):
    def dst_form(diff_dst, dst):
        return diff_dst - jnp.exp(dst) * diff_dst.sum(axis, keepdims=True)

    def src_form(diff_dst, src):
        return diff_dst - jax.nn.softmax(src, axis) * diff_dst.sum(axis, keepdims=True)

    def forward(src):
        return jax.nn.log_softmax(src, axis)

    return {"dst": dst_form, "src": src_form, "forward": forward}[form]


def prepare(problem):
    if problem.threads != int(os.environ["NPROC"]):
        raise NotApplicable  # XLA's threads are as many as they were at the start
    formula = _formula(problem.form, problem.memory_axis)

    def donating(out, *parents):
        # float32 inside for 16 bits, as everyone has it; XLA drops conversions that it finds to be in vain.
        wide = jnp.promote_types(out.dtype, jnp.float32)
        return formula(*(problem.taken(parent).astype(wide) for parent in parents)).astype(out.dtype)

    compiled = jax.jit(donating, donate_argnums=0, keep_unused=True)
    operands = [jax.device_put(a) for a in problem.operands(problem.diff_dst_parent, problem.x_parent)]
    out = jnp.zeros(problem.taken_out.shape, problem.dtype)

    def call():
        nonlocal out
        out = compiled(out, *operands).block_until_ready()

    return Prepared(call, lambda: np.array(out).transpose(problem.cell.shape.axes))


CONTENDERS = {"JAX": prepare}
