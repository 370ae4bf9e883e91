/* Rows of a few classes, of the dtypes that are computed in float elsewhere. Here they come as columns, and each column
 * is computed in one pass, in double.
 *
 * With m = max(src), `ties` the number of elements equal to m, e = exp(src - m) of the others, and `others` their sum:
 *
 *     L         =  log(ties + others)
 *     dst       =  (src - m) - L                                           log_softmax
 *     diff_src  =  diff_dst - e S / (ties + others)                        the src form
 *     diff_src  =  (diff_dst - S) + S (ties - 1 + others) / (ties + others)    at the maximum
 *
 * In double, src - m, S and diff_dst - S lose nothing that counts in float. So no constants of a row are made: making
 * them would take longer than its few elements. Columns do not see each other, and sums go from the first element to
 * the last, so every layout gives the same bits.
 */
#ifndef FASTLSM_FEW_CLASSES_HPP
#define FASTLSM_FEW_CLASSES_HPP

#include "forms.hpp"
#include "rows.hpp"

namespace {

/* Columns that are computed together, so that their numbers stay in the first-level cache. */
constexpr ptrdiff_t BLOCK = 64;

/* What is known of a block's columns, and exp of their elements. */
struct FewClasses {
    double max[BLOCK], others[BLOCK], ties[BLOCK], e[FEW_CLASSES_OF_SRC_FORM][BLOCK];
};

ALWAYS_INLINE void take_exp(FewClasses *of, Strip x, ptrdiff_t n, ptrdiff_t c, ptrdiff_t count)
{
    /* Below this, exp is taken as 0: it changes neither a sum that is at least 1 nor a result in float. */
    constexpr double LOWEST = -700;
    for (ptrdiff_t l = 0; l < count; l++)
        of->max[l] = x.row<const float>(0)[c + l], of->others[l] = of->ties[l] = 0;
    for (ptrdiff_t j = 1; j < n; j++) {
        const float *row = x.row<const float>(j) + c;
        for (ptrdiff_t l = 0; l < count; l++)
            of->max[l] = row[l] > of->max[l] ? row[l] : of->max[l];
    }
    for (ptrdiff_t j = 0; j < n; j++) {
        const float *row = x.row<const float>(j) + c;
        double *e_row = of->e[j];
        ROWS_ARE_INDEPENDENT
        for (ptrdiff_t l = 0; l < count; l++) {
            double d = (double)row[l] - of->max[l], e = exp_for_float(d < LOWEST ? LOWEST : d, MAGIC_OF_DOUBLE);
            e = d < LOWEST ? 0 : e;
            e_row[l] = e;
            of->others[l] += d == 0 ? 0 : e;
            of->ties[l] += d == 0 ? 1 : 0;
        }
    }
}

NOINLINE void log_softmax_of_few(Strip y, Strip x, ptrdiff_t n, ptrdiff_t columns)
{
    FewClasses of;
    double *L = of.others;
    for (ptrdiff_t c = 0, count; c < columns; c += count) {
        count = at_most(columns - c, BLOCK);
        take_exp(&of, x, n, c, count);
        ROWS_ARE_INDEPENDENT
        for (ptrdiff_t l = 0; l < count; l++)
            L[l] = log1p_for_float(of.others[l] + (of.ties[l] - 1));
        for (ptrdiff_t j = 0; j < n; j++) {
            const float *x_row = x.row<const float>(j) + c;
            float *y_row = y.row<float>(j) + c;
            ROWS_ARE_INDEPENDENT
            for (ptrdiff_t l = 0; l < count; l++)
                y_row[l] = (float)(((double)x_row[l] - of.max[l]) - L[l]);
        }
    }
}

NOINLINE void backward_src_of_few(Strip y, Strip g, Strip x, ptrdiff_t n, ptrdiff_t columns)
{
    FewClasses of;
    double sums[BLOCK], *factors = of.others, *shares = of.ties;
    for (ptrdiff_t c = 0, count; c < columns; c += count) {
        count = at_most(columns - c, BLOCK);
        take_exp(&of, x, n, c, count);
        for (ptrdiff_t l = 0; l < count; l++)
            sums[l] = 0;
        for (ptrdiff_t j = 0; j < n; j++) {
            const float *g_row = g.row<const float>(j) + c;
            for (ptrdiff_t l = 0; l < count; l++)
                sums[l] += g_row[l];
        }
        ROWS_ARE_INDEPENDENT
        for (ptrdiff_t l = 0; l < count; l++) {
            double S = sums[l], others = of.others[l], ties = of.ties[l], inverse = 1 / (others + ties);
            factors[l] = S * inverse;
            shares[l] = S * ((others + (ties - 1)) * inverse);
        }
        for (ptrdiff_t j = 0; j < n; j++) {
            const float *x_row = x.row<const float>(j) + c, *g_row = g.row<const float>(j) + c;
            float *y_row = y.row<float>(j) + c;
            const double *e_row = of.e[j];
            ROWS_ARE_INDEPENDENT
            for (ptrdiff_t l = 0; l < count; l++) {
                double S = sums[l], at_max = (g_row[l] - S) + shares[l];
                double elsewhere = fmadd(-e_row[l], factors[l], (double)g_row[l]);
                /* If S is infinite, the formula for elsewhere makes infinity or NaN at the maximum, too. */
                bool is_max = (x_row[l] == of.max[l]) & (fabs(S) < INFINITY);
                y_row[l] = (float)(is_max ? at_max : elsewhere);
            }
        }
    }
}

/* The results of `columns` columns of n floats; row j of a strip holds element j of each. y may be g or x. */
inline void write_few(Form form, Strip y, Strip g, Strip x, ptrdiff_t n, ptrdiff_t columns)
{
    switch (form) {
    case Form::LOG_SOFTMAX: return log_softmax_of_few(y, x, n, columns);
    case Form::BACKWARD_SRC: return backward_src_of_few(y, g, x, n, columns);
    case Form::BACKWARD_DST: break; /* its `few_classes` is 0 */
    }
    __builtin_unreachable();
}

} // namespace
#endif
