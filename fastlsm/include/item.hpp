/* The elements of arrays: one specialisation of `Item` for each way to read adjacent elements.
 *
 * An element type is: its conversions (`widened` and `narrow` in real.hpp), its `Item`, its name in `DType` and in
 * `Format`, and a case in each `switch` here. The compiler names what is missing here: `Item` has no general
 * definition, and a `switch` that lacks a case is a warning. It does not know kernels/problem.pxd, which repeats the
 * names, nor `code_of` in _kernels.pyx, which knows the dtype.
 */
#ifndef FASTLSM_ITEM_HPP
#define FASTLSM_ITEM_HPP

#include <type_traits>

#include "vectors.hpp"

namespace {

/* The dtype of an array. */
enum class DType { FLOAT32, FLOAT64, BFLOAT16, FLOAT16 };

/* The format of adjacent elements that loops read and write. */
enum class Format { F32, F64, BF16, F16 };

/* bfloat16 as the loops along rows read it: in pairs of vectors, one of the elements of even number and one of those of
 * odd number. Each element is half of a 32-bit word, so that a pair takes fewer operations. */
struct bf16_in_pairs {
    bf16 item;
};

template <class T> struct Item;

/* Whether the instruction set loads and stores the first elements of a vector as quickly as all of them. */
template <class T, class V, class = void> constexpr bool HAS_FIRST = false;
template <class T, class V>
constexpr bool HAS_FIRST<T, V, std::void_t<decltype(Isa::load_first((const T *)nullptr, 0, V()))>> = true;

/* What most element types have in common. T is the type in memory, R that of the arithmetic. */
template <class T, class R> struct InOrder {
    using Arithmetic = R;
    using V = Vector<R>;
    static constexpr int UNIT = 1; /* vectors that are loaded and stored together */
    static constexpr bool QUICK_ENDS = HAS_FIRST<T, V>;

    static ALWAYS_INLINE V load(const T *at) { return Isa::load(at); }
    static ALWAYS_INLINE f64_vector load_as_f64(const T *at) { return Isa::load_as_f64(at); }
    static ALWAYS_INLINE void store(T *at, V x) { Isa::store(at, x); }
    static R load_one(const T *at) { return widened(*at); }
    static void store_one(T *at, R x) { narrow(x, at); }

    template <int count> static ALWAYS_INLINE void load(V *x, const T *at)
    {
        for (int k = 0; k < count; k++)
            x[k] = load(at + k * WIDTH<V>);
    }
    template <int count> static ALWAYS_INLINE void store(T *at, const V *x)
    {
        for (int k = 0; k < count; k++)
            store(at + k * WIDTH<V>, x[k]);
    }

    /* The first `count` elements of a unit, and `fill` for the others. */
    static ALWAYS_INLINE void load_first(V *x, const T *at, ptrdiff_t count, R fill)
    {
        if constexpr (QUICK_ENDS)
            *x = Isa::load_first(at, count, splat(fill));
        else
            *x = count >= WIDTH<V> ? load(at) : load_few(at, count, fill);
    }
    static ALWAYS_INLINE void store_first(T *at, const V *x, ptrdiff_t count)
    {
        if constexpr (QUICK_ENDS)
            Isa::store_first(at, *x, count);
        else if (count >= WIDTH<V>)
            store(at, *x);
        else
            store_few(at, *x, count);
    }

private:
    static NOINLINE V load_few(const T *at, ptrdiff_t count, R fill)
    {
        T whole[WIDTH<V>] = {};
        memcpy(whole, at, count * sizeof *at);
        V x = load(whole);
        for (int i = 0; i < WIDTH<V>; i++)
            x[i] = i < count ? x[i] : fill;
        return x;
    }
    static NOINLINE void store_few(T *at, V x, ptrdiff_t count)
    {
        T whole[WIDTH<V>];
        store(whole, x);
        memcpy(at, whole, count * sizeof *at);
    }
};

template <> struct Item<float> : InOrder<float, float> {};
template <> struct Item<double> : InOrder<double, double> {};
template <> struct Item<bf16> : InOrder<bf16, float> {};
template <> struct Item<f16> : InOrder<f16, float> {};

template <> struct Item<bf16_in_pairs> {
    using Arithmetic = float;
    using V = f32_vector;
    static constexpr int UNIT = 2;
    static constexpr bool QUICK_ENDS = Item<bf16>::QUICK_ENDS;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    static constexpr bool LOW_HALF_IS_ODD = true;
#else
    static constexpr bool LOW_HALF_IS_ODD = false;
#endif

    template <int count> static ALWAYS_INLINE void load(V *x, const bf16_in_pairs *at)
    {
        for (int k = 0; k < count; k += 2) {
            u32_vector words;
            memcpy(&words, at + k * WIDTH<V>, sizeof words);
            split(x + k, words);
        }
    }
    template <int count> static ALWAYS_INLINE void store(bf16_in_pairs *at, const V *x)
    {
        for (int k = 0; k < count; k += 2) {
            u32_vector words = join(x + k);
            memcpy(at + k * WIDTH<V>, &words, sizeof words);
        }
    }
    static ALWAYS_INLINE void load_first(V *x, const bf16_in_pairs *at, ptrdiff_t count, float fill)
    {
        u32_vector words = u32_vector{} + (uint32_t)bf16_from_f32(fill).bits * 0x10001;
        split(x, Isa::load_part(words, at, count * sizeof *at));
    }
    static ALWAYS_INLINE void store_first(bf16_in_pairs *at, const V *x, ptrdiff_t count)
    {
        Isa::store_part(at, join(x), count * sizeof *at);
    }
    static float load_one(const bf16_in_pairs *at) { return widened(at->item); }
    static void store_one(bf16_in_pairs *at, float x) { narrow(x, &at->item); }

private:
    static ALWAYS_INLINE void split(V *even_and_odd, u32_vector words)
    {
        even_and_odd[LOW_HALF_IS_ODD] = (V)(words << 16);
        even_and_odd[!LOW_HALF_IS_ODD] = (V)(words & 0xffff0000);
    }
    static ALWAYS_INLINE u32_vector join(const V *even_and_odd)
    {
        return Isa::join_halves(Isa::round_to_bf16(even_and_odd[LOW_HALF_IS_ODD]) >> 16,
                                Isa::round_to_bf16(even_and_odd[!LOW_HALF_IS_ODD]));
    }
};

template <class T> using Arithmetic = typename Item<T>::Arithmetic;

/* Stands for the element type T as an argument. */
template <class T> struct Of {
    using type = T;
};

/* f(Of<T>{}), where T is the element type of a format. */
template <class F> ALWAYS_INLINE auto with_item(Format format, F f)
{
    switch (format) {
    case Format::F32: return f(Of<float>{});
    case Format::F64: return f(Of<double>{});
    case Format::BF16: return f(Of<bf16>{});
    case Format::F16: return f(Of<f16>{});
    }
    __builtin_unreachable();
}

/* The same for the loops along rows. */
template <class F> ALWAYS_INLINE auto with_item_of_rows(Format format, F f)
{
    return with_item(format, [&](auto of) {
        using T = typename decltype(of)::type;
        return f(Of<std::conditional_t<std::is_same_v<T, bf16>, bf16_in_pairs, T>>{});
    });
}

/* The format of an array's elements. */
inline Format format_of(DType dtype)
{
    switch (dtype) {
    case DType::FLOAT32: return Format::F32;
    case DType::FLOAT64: return Format::F64;
    case DType::BFLOAT16: return Format::BF16;
    case DType::FLOAT16: return Format::F16;
    }
    __builtin_unreachable();
}

/* The format of the arithmetic's own type. */
inline Format arithmetic_format(bool in_double) { return in_double ? Format::F64 : Format::F32; }

inline ptrdiff_t real_size(bool in_double) { return in_double ? sizeof(double) : sizeof(float); }

/* Whether elements are smaller in memory than in the arithmetic. */
inline bool is_narrow(Format format)
{
    return with_item(format, [](auto of) {
        using T = typename decltype(of)::type;
        return sizeof(T) < sizeof(Arithmetic<T>);
    });
}

/* Whether the end of a row, which is less than a vector, is loaded and stored as quickly as a whole vector. */
inline bool has_quick_ends(Format format)
{
    return with_item(format, [](auto of) { return Item<typename decltype(of)::type>::QUICK_ENDS; });
}

inline const char *format_name(Format format)
{
    switch (format) {
    case Format::F32: return "float32";
    case Format::F64: return "float64";
    case Format::BF16: return "bfloat16";
    case Format::F16: return "float16";
    }
    __builtin_unreachable();
}

inline ptrdiff_t size_of(Format format)
{
    return with_item(format, [](auto of) { return (ptrdiff_t)sizeof(typename decltype(of)::type); });
}

} // namespace
#endif
