/* The table of forms: what each reads, what it needs to know of a row, and the step that ends it.
 *
 * A form is: its name, its row of the table, its step (steps.hpp) and the case of `with_step`. The compiler names what
 * is missing here. It does not know kernels/problem.pxd, which repeats the name, nor `FORMS` in _kernels.pyx.
 */
#ifndef FASTLSM_FORMS_HPP
#define FASTLSM_FORMS_HPP

#include "steps.hpp"

namespace {

enum class Form { LOG_SOFTMAX, BACKWARD_SRC, BACKWARD_DST };

/* A form goes over a row in up to three passes: reduce (sum and maximum), exp, write. */
struct FormTraits {
    bool has_gradient;     /* reads diff_dst, and needs its sum */
    bool needs_exp;        /* needs the maximum of src and the sum of exp */
    bool apart;            /* sums only the exp of what is below the maximum, and counts the elements at it */
    bool has_limits;       /* its step cannot do extreme sums of diff_dst, nor all dst (dst.hpp) */
    ptrdiff_t few_classes; /* the longest row that few_classes.hpp takes, where the arithmetic is float; 0: none */
};

inline FormTraits traits_of(Form form)
{
    switch (form) {
    case Form::LOG_SOFTMAX:
        return { .has_gradient = false,
                 .needs_exp = true,
                 .apart = true,
                 .has_limits = false,
                 .few_classes = FEW_CLASSES_OF_LOG_SOFTMAX };
    case Form::BACKWARD_SRC:
        return { .has_gradient = true,
                 .needs_exp = true,
                 .apart = false,
                 .has_limits = false,
                 .few_classes = FEW_CLASSES_OF_SRC_FORM };
    case Form::BACKWARD_DST:
        return { .has_gradient = true, .needs_exp = false, .apart = false, .has_limits = true, .few_classes = 0 };
    }
    __builtin_unreachable();
}

/* f(step), where `step` ends the form. */
template <class R, class F> ALWAYS_INLINE void with_step(Form form, F f)
{
    switch (form) {
    case Form::LOG_SOFTMAX: return f(LogSoftmaxStep<R>{});
    case Form::BACKWARD_SRC: return f(SrcStep<R>{});
    case Form::BACKWARD_DST: return f(DstStep<R>{});
    }
    __builtin_unreachable();
}

/* Whether the form's last step needs exp of src. */
inline bool writes_from_exp(Form form)
{
    bool from_exp = false;
    with_step<float>(form, [&](auto step) { from_exp = decltype(step)::FROM_EXP; });
    return from_exp;
}

} // namespace
#endif
