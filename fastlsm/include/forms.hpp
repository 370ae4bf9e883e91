/* The table of forms: what each reads, what it needs to know of a row, and the step that ends it.
 *
 * A form is: its name, its row of the table, its step (steps.hpp) and the case of `with_step`. The compiler names what
 * is missing here. It does not know kernels/problem.pxd, which repeats the name, nor `FORMS` in _kernels.pyx.
 */
#ifndef FASTLSM_FORMS_HPP
#define FASTLSM_FORMS_HPP

#include <type_traits>

#include "steps.hpp"

namespace {

enum class Form { LOG_SOFTMAX, BACKWARD_SRC, BACKWARD_DST };

/* A form goes over a row in up to three passes: reduce (sum and maximum), exp, write. */
struct FormTraits {
    bool has_gradient;     /* reads diff_dst, and needs its sum */
    bool needs_exp;        /* needs the maximum of src and the sum of exp */
    Counted counted;       /* while exp is taken. TIES: the sum of exp is of what is below the maximum */
    bool has_limits;       /* its step cannot do extreme sums of diff_dst, nor all dst (dst.hpp) */
    ptrdiff_t few_classes; /* the longest row that few_classes.hpp takes, where the arithmetic is float; 0: none */
};

inline FormTraits traits_of(Form form)
{
    switch (form) {
    case Form::LOG_SOFTMAX:
        return { .has_gradient = false,
                 .needs_exp = true,
                 .counted = Counted::TIES,
                 .has_limits = false,
                 .few_classes = FEW_CLASSES_OF_LOG_SOFTMAX };
    case Form::BACKWARD_SRC:
        return { .has_gradient = true,
                 .needs_exp = true,
                 .counted = Counted::LOST,
                 .has_limits = false,
                 .few_classes = FEW_CLASSES_OF_SRC_FORM };
    case Form::BACKWARD_DST:
        return {
            .has_gradient = true, .needs_exp = false, .counted = Counted::NOTHING, .has_limits = true, .few_classes = 0
        };
    }
    __builtin_unreachable();
}

/* What is counted for a result of this dtype. Of 16 bits, a result loses more than exp ever does. */
inline Counted counted_for(Form form, DType result)
{
    Counted counted = traits_of(form).counted;
    return counted == Counted::LOST && is_narrow(format_of(result)) ? Counted::NOTHING : counted;
}

/* f(constant), a std::integral_constant of `counted`, for loops over elements of type Of::type. */
template <class Of, class F> ALWAYS_INLINE void with_counted(Counted counted, F f)
{
    using T = typename Of::type;
    if (counted == Counted::TIES)
        return f(std::integral_constant<Counted, Counted::TIES>{});
    if constexpr (sizeof(T) == sizeof(Arithmetic<T>)) /* narrow elements have narrow results */
        if (counted == Counted::LOST)
            return f(std::integral_constant<Counted, Counted::LOST>{});
    f(std::integral_constant<Counted, Counted::NOTHING>{});
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
