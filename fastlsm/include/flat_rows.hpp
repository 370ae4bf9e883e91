/* The last step of adjacent short rows, gone through as one run of elements, so that no vector is partly empty.
 *
 * WIDTH rows of n elements, WIDTH being the elements of a vector, fill exactly n vectors. The constants of a row are
 * picked for each element from a vector of the rows' constants. `pattern` says for each element of the n vectors in
 * which of the rows it is.
 */
#ifndef FASTLSM_FLAT_ROWS_HPP
#define FASTLSM_FLAT_ROWS_HPP

#include "rows.hpp"

namespace {

template <class R> void set_pattern_of(typename Real<R>::Bits *pattern, ptrdiff_t n)
{
    for (int r = 0; r < WIDTH<Vector<R>>; r++)
        for (ptrdiff_t j = 0; j < n; j++)
            *pattern++ = r;
}

inline void set_pattern(bool in_double, void *pattern, ptrdiff_t n)
{
    if (in_double)
        set_pattern_of<double>((uint64_t *)pattern, n);
    else
        set_pattern_of<float>((uint32_t *)pattern, n);
}

/* The constants of `count` vectors, each element's own. */
template <class R, int count> struct PickedConstants {
    Vector<R> values[CONSTANTS][count];
    ALWAYS_INLINE Vector<R> operator()(int constant, int k) const { return values[constant][k]; }
};

/* `count` vectors from element i on. `constants` are those of the rows that the pattern counts. */
template <int count, class T, class Step, class Reader>
ALWAYS_INLINE void flat_step(Step *step, Vector<Arithmetic<T>> *y, Reader g, Reader x, const Arithmetic<T> *constants,
                             const char *pattern)
{
    using R = Arithmetic<T>;
    PickedConstants<R, count> picked;
    for (int k = 0; k < count; k++) {
        BitsVector<R> row;
        memcpy(&row, pattern + k * sizeof row, sizeof row);
        auto pick = [&](int constant) { return Isa::pick(load_vector(constants + constant * TILE_STRIDE<R>), row); };
        for (Constant constant : Step::READS)
            picked.values[constant][k] = pick(constant);
    }
    (*step).template operator()<count>(y, picked, g, x);
}

template <class T, class Step>
NOINLINE bool write_flat_of(T *y, const T *g, const T *x, ptrdiff_t rows, ptrdiff_t n, const Constants &constants,
                            const char *pattern, bool ahead, Stream *stream)
{
    using R = Arithmetic<T>;
    constexpr int width = WIDTH<Vector<R>>, most = FLAT_TOGETHER;
    const R *of = constants.of<R>(0);
    ptrdiff_t elements = rows * n;
    Sink<T> sink = { y, stream, elements };
    Step step;
    for (ptrdiff_t i = 0; i < elements; of += width)
        for (ptrdiff_t v = 0, count; v < n && i < elements; v += count, i += count * width) {
            const char *row = pattern + v * VECTOR_BYTES;
            Vector<R> y[most];
            if (ahead) {
                prefetch((const char *)(g + i + elements), most * width * sizeof(T));
                prefetch((const char *)(x + i) + AHEAD_BYTES, most * width * sizeof(T));
            }
            auto whole = [&](auto number) {
                constexpr int together = decltype(number)::value;
                flat_step<together, T>(&step, y, Whole<T>{ g + i }, Whole<T>{ x + i }, of, row);
                Item<T>::template store<together>(sink.at(i), y);
                sink.send(i + together * width);
                count = together;
            };
            if (v + most <= n && i + most * width <= elements) {
                whole(std::integral_constant<int, most>{});
            } else if (i + width <= elements) {
                whole(std::integral_constant<int, 1>{});
            } else {
                flat_step<1, T>(&step, y, First<T>{ g + i, elements - i, 0 }, First<T>{ x + i, elements - i, 0 }, of,
                                row);
                Item<T>::store_first(sink.at(i), y, elements - i);
                count = 1;
            }
        }
    sink.send(elements);
    return step.has_out_of_range();
}

/* The results of adjacent rows of n elements, to y or into the stream. Returns whether there is a dst that the step
 * cannot do. A step that reads exp has exp turned to columns, and so is done there. */
inline bool write_flat(Form form, Format format, char *y, const char *g, const char *x, ptrdiff_t rows, ptrdiff_t n,
                       const Constants &constants, const void *pattern, bool ahead, Stream *stream)
{
    return with_item(format, [&](auto of) {
        using T = typename decltype(of)::type;
        bool out_of_range = false;
        with_step<Arithmetic<T>>(form, [&](auto step) {
            if constexpr (Isa::QUICK_PICK && !decltype(step)::FROM_EXP)
                out_of_range = write_flat_of<T, decltype(step)>((T *)y, (const T *)g, (const T *)x, rows, n, constants,
                                                                (const char *)pattern, ahead, stream);
        });
        return out_of_range;
    });
}

} // namespace
#endif
