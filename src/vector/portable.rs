//! Vectors in plain Rust: for processors without AVX2, and for the remainder of a row of channels.

use super::{Instructions, NARROW_LANES, NarrowVector, Vector, WideVector};

/// One float: for the remainder of a row of channels.
#[derive(Clone, Copy)]
pub struct Single(f32);

impl Vector for Single {
    const LANES: usize = 1;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self(value)
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises a readable float.
        Self(unsafe { *from })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises a writable float.
        unsafe { *to = self.0 }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self {
        // SAFETY: the caller promises a readable byte.
        Self(f32::from(unsafe { *from }))
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        // SAFETY: the caller promises a writable byte.
        unsafe { *to = self.0 as u8 }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        if count > 0 {
            // SAFETY: the caller promises a writable float.
            unsafe { *to = self.0 }
        }
    }

    #[inline(always)]
    fn fma(self, factor: Self, sum: Self) -> Self {
        Self(Portable::fma(self.0, factor.0, sum.0))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    #[inline(always)]
    fn relu(self) -> Self {
        // Not `max`, which would hide NaN.
        Self(if self.0 < 0.0 { 0.0 } else { self.0 })
    }

    #[inline(always)]
    fn where_positive(self, other: Self) -> Self {
        Self(if other.0 > 0.0 { self.0 } else { 0.0 })
    }

    #[inline(always)]
    fn where_equal(self, left: Self, right: Self) -> Self {
        Self(if left.0 == right.0 { self.0 } else { 0.0 })
    }

    #[inline(always)]
    fn raise(best: &mut Self, value: Self, mark: &mut Self, new_mark: Self) {
        if value.0 > best.0 || (value.0.is_nan() && !best.0.is_nan()) {
            (*best, *mark) = (value, new_mark);
        }
    }
}

/// `N` vectors side by side.
#[derive(Clone, Copy)]
pub struct Several<V, const N: usize>([V; N]);

impl<V: Vector, const N: usize> Vector for Several<V, N> {
    const LANES: usize = N * V::LANES;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([V::splat(value); N])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: passed on from the caller.
        Self(std::array::from_fn(|part| unsafe { V::load(from.add(part * V::LANES)) }))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        for part in 0..N {
            // SAFETY: passed on from the caller.
            unsafe { self.0[part].store(to.add(part * V::LANES)) }
        }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self {
        // SAFETY: passed on from the caller.
        Self(std::array::from_fn(|part| unsafe { V::load_bytes(from.add(part * V::LANES)) }))
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        for part in 0..N {
            // SAFETY: passed on from the caller.
            unsafe { self.0[part].store_bytes(to.add(part * V::LANES)) }
        }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        for part in 0..N {
            let first = part * V::LANES;
            // SAFETY: passed on from the caller; a part that is not stored is not pointed to.
            unsafe { self.0[part].store_first(to.wrapping_add(first), count.saturating_sub(first).min(V::LANES)) }
        }
    }

    #[inline(always)]
    fn fma(self, factor: Self, sum: Self) -> Self {
        Self(std::array::from_fn(|part| self.0[part].fma(factor.0[part], sum.0[part])))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|part| self.0[part].add(other.0[part])))
    }

    #[inline(always)]
    fn relu(self) -> Self {
        Self(std::array::from_fn(|part| self.0[part].relu()))
    }

    #[inline(always)]
    fn where_positive(self, other: Self) -> Self {
        Self(std::array::from_fn(|part| self.0[part].where_positive(other.0[part])))
    }

    #[inline(always)]
    fn where_equal(self, left: Self, right: Self) -> Self {
        Self(std::array::from_fn(|part| self.0[part].where_equal(left.0[part], right.0[part])))
    }

    #[inline(always)]
    fn raise(best: &mut Self, value: Self, mark: &mut Self, new_mark: Self) {
        for part in 0..N {
            V::raise(&mut best.0[part], value.0[part], &mut mark.0[part], new_mark.0[part]);
        }
    }
}

impl NarrowVector for Several<Single, NARROW_LANES> {
    #[inline(always)]
    fn sums(vectors: [Self; NARROW_LANES]) -> Self {
        Self(vectors.map(|vector| {
            let [a, b, c, d, e, f, g, h] = vector.0.map(|lane| lane.0);
            Single(((a + b) + (c + d)) + ((e + f) + (g + h)))
        }))
    }
}

impl<V: NarrowVector> WideVector for Several<V, 2> {
    type Half = V;

    #[inline(always)]
    fn fold(self) -> V {
        self.0[0].add(self.0[1])
    }
}

/// Plain Rust, compiled to the baseline instructions of the target.
pub struct Portable;

impl Instructions for Portable {
    type Narrow = Several<Single, NARROW_LANES>;
    type Wide = Several<Self::Narrow, 2>;
    const WIDE_REGISTERS: usize = if cfg!(target_feature = "neon") { 8 } else { 4 };
    const FUSED: bool = cfg!(target_feature = "neon");
}
