/* The loops along rows of adjacent elements: sum, maximum, exp, and the last step.
 *
 * Each function goes through some rows of n elements. `Strip` says where they are. A long row comes in chunks, each as
 * one row. Then `carry` holds the lanes from one chunk to the next, and sums are not totalled.
 */
#ifndef FASTLSM_ROWS_HPP
#define FASTLSM_ROWS_HPP

#include <type_traits>

#include "dst.hpp"
#include "forms.hpp"
#include "largest.hpp"
#include "row_constants.hpp"
#include "traffic.hpp"
#include "tuning.hpp"

namespace {

/* Where rows are. */
struct Strip {
    char *data;
    ptrdiff_t pitch; /* bytes from a row to the next */

    template <class T> T *row(ptrdiff_t r) const { return (T *)(data + r * pitch); }
};

/* Vectors that go through a step together, and how many elements they have. */
template <class R>
constexpr int TOGETHER = LANES / WIDTH<Vector<R>> > LEAST_TOGETHER ? LANES / WIDTH<Vector<R>> : LEAST_TOGETHER;
template <class R> constexpr ptrdiff_t STEP = TOGETHER<R> * WIDTH<Vector<R>>;

/* Elements of a unit of vectors. */
template <class T> constexpr ptrdiff_t UNIT_ELEMENTS = Item<T>::UNIT * WIDTH<typename Item<T>::V>;

ALWAYS_INLINE ptrdiff_t at_most(ptrdiff_t n, ptrdiff_t most) { return n < 0 ? 0 : n < most ? n : most; }

/* The last round of a row, where `left` elements are fewer than it holds: `fill` stands for the others. */
template <class T>
ALWAYS_INLINE void load_last_round(typename Item<T>::V *x, const T *at, ptrdiff_t left, Arithmetic<T> fill)
{
    for (int k = 0; k < ROUND<T>; k += Item<T>::UNIT) {
        ptrdiff_t start = k * WIDTH<typename Item<T>::V>;
        Item<T>::load_first(x + k, at + start, at_most(left - start, UNIT_ELEMENTS<T>), fill);
    }
}

/* Whole rounds of n elements; returns how many elements they have. */
template <class T> ALWAYS_INLINE ptrdiff_t sum_rounds(Lanes<T> *lanes, const T *x, ptrdiff_t n, bool ahead)
{
    ptrdiff_t i = 0;
    for (; i + ROUND_ELEMENTS<T> <= n; i += ROUND_ELEMENTS<T>) {
        if (ahead)
            prefetch((const char *)(x + i) + AHEAD_BYTES, ROUND_ELEMENTS<T> * sizeof(T));
        lanes->add_round(x + i);
    }
    return i;
}

/* All of a row. Adding 0 for what is missing in the last round changes no bit. */
template <class T> ALWAYS_INLINE void sum_row(Lanes<T> *lanes, const T *x, ptrdiff_t n, bool ahead)
{
    ptrdiff_t i = sum_rounds(lanes, x, n, ahead);
    if (i < n) {
        typename Item<T>::V rest[ROUND<T>];
        load_last_round(rest, x + i, n - i, 0);
        lanes->template add_vectors<ROUND<T>>(rest);
    }
}

/* The lanes of row r at its end: totalled to hi[r] and lo[r], or carried to the next chunk. */
template <class T> ALWAYS_INLINE void end_lanes(Lanes<T> *lanes, double *hi, double *lo, ptrdiff_t r, LaneSums *carry)
{
    if (carry) {
        lanes->write(carry);
    } else {
        Sum sum = lanes->total();
        hi[r] = sum.hi, lo[r] = sum.lo;
    }
}

template <class T>
NOINLINE void sum_rows_of(Strip x, ptrdiff_t rows, ptrdiff_t n, bool ahead, double *hi, double *lo, LaneSums *carry)
{
    for (ptrdiff_t r = 0; r < rows; r++) {
        Lanes<T> lanes;
        if (carry)
            lanes.read(carry);
        sum_row(&lanes, x.row<const T>(r), n, ahead);
        end_lanes(&lanes, hi, lo, r, carry);
    }
}

/* The sum of each row, to hi and lo; if `carry` is given, only to its lanes. */
inline void sum_rows(Format format, Strip x, ptrdiff_t rows, ptrdiff_t n, bool ahead, double *hi, double *lo,
                     LaneSums *carry)
{
    with_item_of_rows(format,
                      [&](auto of) { sum_rows_of<typename decltype(of)::type>(x, rows, n, ahead, hi, lo, carry); });
}

/* The maximum of a row and `max`, NaN passed over. */
template <class T> ALWAYS_INLINE Arithmetic<T> max_row(const T *x, ptrdiff_t n, Arithmetic<T> max, bool ahead)
{
    using V = typename Item<T>::V;
    constexpr int count = 4;
    constexpr ptrdiff_t elements = count * WIDTH<V>;
    V top[count], v[count];
    ptrdiff_t i = 0;
    for (int k = 0; k < count; k++)
        top[k] = splat(max);
    for (; i + elements <= n; i += elements) {
        if (ahead)
            prefetch((const char *)(x + i) + AHEAD_BYTES, elements * sizeof(T));
        Item<T>::template load<count>(v, x + i);
        for (int k = 0; k < count; k++)
            top[k] = Isa::maximum(v[k], top[k]);
    }
    for (; i < n; i += UNIT_ELEMENTS<T>) {
        if (i + UNIT_ELEMENTS<T> <= n)
            Item<T>::template load<Item<T>::UNIT>(v, x + i);
        else if (!Item<T>::QUICK_ENDS && n >= UNIT_ELEMENTS<T>) /* some elements once more */
            Item<T>::template load<Item<T>::UNIT>(v, x + n - UNIT_ELEMENTS<T>);
        else
            Item<T>::load_first(v, x + i, n - i, -INFINITY);
        for (int k = 0; k < Item<T>::UNIT; k++)
            top[k] = Isa::maximum(v[k], top[k]);
    }
    for (int k = 1; k < count; k++)
        top[0] = Isa::maximum(top[k], top[0]);
    return Isa::max_across(top[0]);
}

template <class T>
NOINLINE void max_rows_of(Strip x, ptrdiff_t rows, ptrdiff_t n, bool ahead, const Constants &constants)
{
    auto *max = constants.of<Arithmetic<T>>(MAXIMUM);
    for (ptrdiff_t r = 0; r < rows; r++)
        max[r] = max_row(x.row<const T>(r), n, max[r], ahead);
}

/* Raises the constant MAXIMUM of each row to the row's maximum. NaN is passed over. */
inline void max_rows(Format format, Strip x, ptrdiff_t rows, ptrdiff_t n, bool ahead, const Constants &constants)
{
    with_item_of_rows(format, [&](auto of) { max_rows_of<typename decltype(of)::type>(x, rows, n, ahead, constants); });
}

/* What a pass finds of the rows after those it computes, so that memory is read while the processor computes. */
struct Next {
    Strip strip;                       /* of src in the exp pass, of diff_dst in the last pass */
    ptrdiff_t rows;                    /* 0 if no rows are wanted */
    double *max;                       /* of each row */
    double *diff_dst_hi, *diff_dst_lo; /* the sum of each row */
    LaneSums *carry;                   /* of one row in chunks: its lanes, instead of its sum */
};

/* exp of `count` vectors, to e, in the order in which `Item<T>::load` gives the vectors. */
template <int count, Counted counted, class T, class C, class X>
ALWAYS_INLINE void exp_to(Arithmetic<T> *e, C constants, X from, BitsVector<Arithmetic<T>> *counts)
{
    using R = Arithmetic<T>;
    Vector<R> y[count];
    BitsVector<R> of[count];
    exp_step<count, counted, R>(y, of, constants, from);
    if constexpr (counted != Counted::NOTHING)
        for (int k = 0; k < count; k++)
            *counts += of[k];
    Item<R>::template store<count>(e, y);
}

/* exp of a row, to e, which has room for whole rounds, and to its lanes; returns what is counted. */
template <class T, Counted counted>
ALWAYS_INLINE double exp_row(Arithmetic<T> *e, const T *x, ptrdiff_t n,
                             ConstantReader<Arithmetic<T>, Way::ALONG> constants, bool ahead, Lanes<T> *lanes,
                             const T *next, Arithmetic<T> *next_max)
{
    using R = Arithmetic<T>;
    using V = Vector<R>;
    BitsVector<R> counts = {};
    V top = splat(next ? *next_max : 0);
    ptrdiff_t i = 0, added = 0;
    for (; i + STEP<R> <= n; i += STEP<R>) {
        if (ahead)
            prefetch((const char *)((next ? next : x) + i) + AHEAD_BYTES, STEP<R> * sizeof(T));
        if (next) {
            V v[TOGETHER<R>];
            Item<T>::template load<TOGETHER<R>>(v, next + i);
            for (int k = 0; k < TOGETHER<R>; k++)
                top = Isa::maximum(v[k], top);
        }
        exp_to<TOGETHER<R>, counted, T>(e + i, constants, Whole<T>{ x + i }, &counts);
        for (; added < i; added += STEP<R>) /* what the step before has stored */
            lanes->template add_exps<TOGETHER<R>>(e + added);
    }
    if (next)
        *next_max = max_row(next + i, n - i, Isa::max_across(top), false);
    for (; i < n; i += ROUND_ELEMENTS<T>) {
        if (n - i >= ROUND_ELEMENTS<T>)
            exp_to<ROUND<T>, counted, T>(e + i, constants, Whole<T>{ x + i }, &counts);
        else
#pragma GCC unroll 16
            for (int k = 0; k < ROUND<T>; k += Item<T>::UNIT) { /* exp(-inf) is 0, and adding 0 changes no bit */
                ptrdiff_t start = i + k * WIDTH<V>, elements = at_most(n - start, UNIT_ELEMENTS<T>);
                exp_to<Item<T>::UNIT, counted, T>(e + start, constants, First<T>{ x + start, elements, -INFINITY },
                                                  &counts);
            }
    }
    for (; added + STEP<R> <= i; added += STEP<R>)
        lanes->template add_exps<TOGETHER<R>>(e + added);
    for (; added < i; added += ROUND_ELEMENTS<T>)
        lanes->template add_exps<ROUND<T>>(e + added);
    return counted == Counted::NOTHING ? 0 : count_of<counted>(Isa::sum_across(counts), i, constants.one(LOST_MAGIC));
}

template <class T, Counted counted>
NOINLINE void exp_rows_of(Strip e, Strip x, ptrdiff_t rows, ptrdiff_t n, bool ahead, const Constants &constants,
                          LaneSums *carry, const Next &next)
{
    using R = Arithmetic<T>;
    for (ptrdiff_t r = 0; r < rows; r++) {
        Lanes<T> lanes;
        R next_max = r < next.rows ? (R)next.max[r] : 0;
        if (carry)
            lanes.read(carry);
        constants.counts[r] +=
            exp_row<T, counted>(e.row<R>(r), x.row<const T>(r), n, { constants.of<R>(0) + r }, ahead, &lanes,
                                r < next.rows ? next.strip.row<const T>(r) : nullptr, &next_max);
        end_lanes(&lanes, constants.exps_hi, constants.exps_lo, r, carry);
        if (r < next.rows)
            next.max[r] = next_max;
    }
}

/* exp of each row, to e, its sum, and what is to be counted, of at most MOST_COUNTED elements. Meanwhile the maximum of
 * the next rows, and of what next.max has already. */
inline void exp_rows(Format format, Counted counted, Strip e, Strip x, ptrdiff_t rows, ptrdiff_t n, bool ahead,
                     const Constants &constants, LaneSums *carry, const Next &next)
{
    with_item_of_rows(format, [&](auto of) {
        with_counted<decltype(of)>(counted, [&](auto what) {
            exp_rows_of<typename decltype(of)::type, decltype(what)::value>(e, x, rows, n, ahead, constants, carry,
                                                                            next);
        });
    });
}

/* Where the last step's results go: to memory, or into a stream, to which a short row is added as a whole. Until a row
 * is added, it can be changed at `at`. */
template <class T> struct Sink {
    static_assert(sizeof(T) % sizeof(uint16_t) == 0, "Stream::send_first_line goes in steps of two bytes");
    T *y;
    Stream *stream; /* or NULL */
    ptrdiff_t n, sent = 0;

    ALWAYS_INLINE T *at(ptrdiff_t i) const { return stream ? (T *)stream->at() + (i - sent) : y + i; }
    /* The elements before the i-th are final. Those of a short row are only sent once i is n. */
    ALWAYS_INLINE void send(ptrdiff_t i)
    {
        if (stream && (i == n || n * (ptrdiff_t)sizeof(T) > Stream::MOST_ADDED)) {
            stream->add((i - sent) * sizeof(T));
            sent = i;
        }
    }
};

/* The second operand of the last step, along a row of T: an operand, or its exp in memory, which has whole units. */
template <class T, bool is_exp> struct SecondOfRow {
    using InMemory = std::conditional_t<is_exp, Arithmetic<T>, T>;
    const InMemory *x;

    ALWAYS_INLINE Whole<InMemory> whole(ptrdiff_t i) const { return { x + i }; }
    ALWAYS_INLINE auto first(ptrdiff_t i, ptrdiff_t elements) const
    {
        if constexpr (is_exp)
            return whole(i);
        else
            return First<T>{ x + i, elements, 0 };
    }
};

/* The step that ends a form, along a row. */
template <class T, class Step>
ALWAYS_INLINE void write_row(Step *step, Sink<T> *sink, const T *g, SecondOfRow<T, Step::FROM_EXP> x, ptrdiff_t n,
                             ConstantReader<Arithmetic<T>, Way::ALONG> constants, bool ahead, Lanes<T> *next_lanes,
                             const T *next)
{
    using R = Arithmetic<T>;
    constexpr int UNIT = Item<T>::UNIT;
    constexpr ptrdiff_t unit = UNIT_ELEMENTS<T>;
    const char *asked_for = (const char *)(Step::FROM_EXP ? (const void *)g : (const void *)x.x) + AHEAD_BYTES;
    Vector<R> y[TOGETHER<R>];
    ptrdiff_t i = 0, summed = 0;
    auto unit_at = [&](ptrdiff_t j) {
        (*step).template operator()<UNIT>(y, constants, Whole<T>{ g + j }, x.whole(j));
        Item<T>::template store<UNIT>(sink->at(j), y);
    };
    /* Without a stream, an element can be computed twice. Then the loop begins at an aligned address, so that no store
     * crosses a cache line, and the first unit covers what is before it. Pairs of exp must be read where they begin. */
    const bool twice = !sink->stream && !(Step::FROM_EXP && UNIT > 1);
    ptrdiff_t unaligned = -(uintptr_t)sink->at(0) % (unit * sizeof(T)) / sizeof(T);
    if (twice && n >= 4 * STEP<R> && unaligned) {
        unit_at(0);
        i = unaligned;
    }
    for (; i + STEP<R> <= n; i += STEP<R>) {
        (*step).template operator()<TOGETHER<R>>(y, constants, Whole<T>{ g + i }, x.whole(i));
        Item<T>::template store<TOGETHER<R>>(sink->at(i), y);
        if (ahead)
            prefetch(asked_for + i * sizeof(T), STEP<R> * sizeof(T));
        if (next)
            summed += sum_rounds(next_lanes, next + summed, STEP<R>, ahead);
        sink->send(i + STEP<R>);
    }
    for (; i + unit <= n; i += unit)
        unit_at(i);
    if (i < n) {
        if (twice && !Item<T>::QUICK_ENDS && n >= unit) {
            unit_at(n - unit);
        } else {
            (*step).template operator()<UNIT>(y, constants, First<T>{ g + i, n - i, 0 }, x.first(i, n - i));
            Item<T>::store_first(sink->at(i), y, n - i);
        }
    }
    sink->send(n);
    if (next)
        sum_row(next_lanes, next + summed, n - summed, false);
}

template <class T, class Step>
NOINLINE bool write_rows_of(Strip y, Strip g, Strip x, ptrdiff_t rows, ptrdiff_t n, bool ahead, Stream *stream,
                            const Constants &constants, const Next &next)
{
    using R = Arithmetic<T>;
    using Second = SecondOfRow<T, Step::FROM_EXP>;
    Step step;
    for (ptrdiff_t r = 0; r < rows; r++) {
        Lanes<T> lanes;
        const T *next_row = r < next.rows ? next.strip.row<const T>(r) : nullptr;
        if (next_row && next.carry)
            lanes.read(next.carry);
        if (stream)
            stream->seek(y.row<T>(r));
        Sink<T> sink = { y.row<T>(r), stream, n };
        Second second = { x.row<const typename Second::InMemory>(r) };
        ConstantReader<R, Way::ALONG> of = { constants.of<R>(0) + r };
        write_row(&step, &sink, g.row<const T>(r), second, n, of, ahead, &lanes, next_row);
        if (next_row)
            end_lanes(&lanes, next.diff_dst_hi, next.diff_dst_lo, r, next.carry);
    }
    return step.has_out_of_range();
}

/* The results of each row, to y or into the stream. x is the second operand, or its exp if the form writes from that.
 * Meanwhile the sums of the next rows' diff_dst. Returns whether there is a dst that the step cannot do. */
inline bool write_rows(Form form, Format format, Strip y, Strip g, Strip x, ptrdiff_t rows, ptrdiff_t n, bool ahead,
                       Stream *stream, const Constants &constants, const Next &next)
{
    return with_item_of_rows(format, [&](auto of) {
        using T = typename decltype(of)::type;
        bool out_of_range = false;
        with_step<Arithmetic<T>>(form, [&](auto step) {
            out_of_range = write_rows_of<T, decltype(step)>(y, g, x, rows, n, ahead, stream, constants, next);
        });
        return out_of_range;
    });
}

template <class T>
NOINLINE void sum_others_of(Strip e, ptrdiff_t rows, ptrdiff_t n, const Constants &constants, LaneSums *carry)
{
    using R = Arithmetic<T>;
    ptrdiff_t whole = round_up(n, ROUND_ELEMENTS<T>);
    for (ptrdiff_t r = 0; r < rows; r++) {
        if (constants.counts[r] != LITTLE_REST)
            continue;
        Lanes<T> lanes;
        if (carry)
            lanes.read(carry);
        R *at = e.row<R>(r);
        for_each_place(at, whole, constants.of<R>(LARGEST)[r], [&](ptrdiff_t i) { at[i] = (R)-0.0; });
        for (ptrdiff_t i = 0; i < whole; i += ROUND_ELEMENTS<T>)
            lanes.template add_exps<ROUND<T>>(at + i);
        end_lanes(&lanes, constants.exps_hi, constants.exps_lo, r, carry);
    }
}

/* Sums exp once more, as exp_rows has left it, in the rows that `mark_little_rests` has marked, and without that of the
 * class of LARGEST, which becomes -0. */
inline void sum_others(Format format, Strip e, ptrdiff_t rows, ptrdiff_t n, const Constants &constants, LaneSums *carry)
{
    with_item_of_rows(format,
                      [&](auto of) { sum_others_of<typename decltype(of)::type>(e, rows, n, constants, carry); });
}

/* Compute again what the dst form's step could not do. */
inline void mend_rows(Format format, Strip y, Strip g, Strip x, ptrdiff_t rows, ptrdiff_t n, const Constants &constants)
{
    with_item_of_rows(format, [&](auto of) {
        using T = typename decltype(of)::type;
        for (ptrdiff_t r = 0; r < rows; r++)
            mend_dst(y.row<T>(r), g.row<const T>(r), x.row<const T>(r), n, constants.diff_dst_hi + r,
                     constants.diff_dst_lo + r, 0);
    });
}

} // namespace
#endif
