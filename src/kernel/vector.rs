//! Eight floats at a time, on whatever the processor has.
//!
//! Kernels are generic over [`Vector`] and inlined whole into one of the entry points below, each compiled for its
//! instruction set and chosen at run time. With AVX-512VL the same 256-bit code has twice the registers.

/// Floats in a vector.
pub const LANES: usize = 8;

/// Eight floats. The results of a kernel differ between implementations only by the rounding of [`Vector::fma`].
pub trait Vector: Copy {
    /// All lanes the same.
    fn splat(value: f32) -> Self;

    /// # Safety
    /// `from` must be valid for reading [`LANES`] floats, and the processor must have the instruction set.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    /// `to` must be valid for writing [`LANES`] floats, and the processor must have the instruction set.
    unsafe fn store(self, to: *mut f32);

    /// self · factor + sum, perhaps rounded once.
    fn fma(self, factor: Self, sum: Self) -> Self;

    /// self + other.
    fn add(self, other: Self) -> Self;

    /// max(self, 0), NaN for NaN.
    fn relu(self) -> Self;

    /// The lanes.
    fn lanes(self) -> [f32; LANES];

    /// The sum of the lanes of each of eight vectors, added as [`Vector::sum`] adds them.
    fn sums(vectors: [Self; LANES]) -> Self;

    /// The sum of the lanes, in a fixed order.
    #[inline(always)]
    fn sum(self) -> f32 {
        let [a, b, c, d, e, f, g, h] = self.lanes();
        ((a + b) + (c + d)) + ((e + f) + (g + h))
    }
}

/// Plain Rust, for processors without the others.
#[derive(Clone, Copy)]
pub struct Portable([f32; LANES]);

impl Vector for Portable {
    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises eight readable floats.
        Self(unsafe { from.cast::<[f32; LANES]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises eight writable floats.
        unsafe { to.cast::<[f32; LANES]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    fn fma(self, factor: Self, sum: Self) -> Self {
        // Not `mul_add`, which is a slow library call where the processor lacks the instruction.
        Self(std::array::from_fn(|lane| self.0[lane] * factor.0[lane] + sum.0[lane]))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|lane| self.0[lane] + other.0[lane]))
    }

    #[inline(always)]
    fn relu(self) -> Self {
        Self(self.0.map(|value| if value < 0.0 { 0.0 } else { value }))
    }

    #[inline(always)]
    fn sums(vectors: [Self; LANES]) -> Self {
        Self(vectors.map(Vector::sum))
    }

    #[inline(always)]
    fn lanes(self) -> [f32; LANES] {
        self.0
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::Avx2;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{LANES, Vector};

    /// AVX2 with FMA.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    // The arithmetic is safe to call only where the instruction set is there; values of this type are made nowhere else
    // than inside the entry points of `run`, which check.
    impl Vector for Avx2 {
        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: see above.
            Self(unsafe { _mm256_set1_ps(value) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller promises eight readable floats; see above for the rest.
            Self(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller promises eight writable floats; see above for the rest.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        fn fma(self, factor: Self, sum: Self) -> Self {
            // SAFETY: see above.
            Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, sum.0) })
        }

        #[inline(always)]
        fn add(self, other: Self) -> Self {
            // SAFETY: see above.
            Self(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn sums([a, b, c, d, e, f, g, h]: [Self; LANES]) -> Self {
            // SAFETY: see above.
            unsafe {
                let (ab, cd) = (_mm256_hadd_ps(a.0, b.0), _mm256_hadd_ps(c.0, d.0));
                let (ef, gh) = (_mm256_hadd_ps(e.0, f.0), _mm256_hadd_ps(g.0, h.0));
                let (abcd, efgh) = (_mm256_hadd_ps(ab, cd), _mm256_hadd_ps(ef, gh));
                let low = _mm256_permute2f128_ps::<0x20>(abcd, efgh);
                let high = _mm256_permute2f128_ps::<0x31>(abcd, efgh);
                Self(_mm256_add_ps(low, high))
            }
        }

        #[inline(always)]
        fn relu(self) -> Self {
            // The second operand is what comes out if one of them is NaN.
            // SAFETY: see above.
            Self(unsafe { _mm256_max_ps(_mm256_setzero_ps(), self.0) })
        }

        #[inline(always)]
        fn lanes(self) -> [f32; LANES] {
            // SAFETY: both are 32 bytes of plain floats.
            unsafe { std::mem::transmute(self.0) }
        }
    }
}

/// A computation that is written once for all instruction sets.
pub trait Kernel {
    /// Computes with vectors of type `V`.
    ///
    /// # Safety
    /// The processor has the instruction set of `V`.
    unsafe fn run<V: Vector>(&mut self);
}

/// Runs a kernel with the best instruction set that the processor has.
pub fn run(kernel: &mut impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        unsafe fn avx2(kernel: &mut impl Kernel) {
            // SAFETY: `run` has found the instruction set.
            unsafe { kernel.run::<Avx2>() }
        }
        #[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
        unsafe fn avx512(kernel: &mut impl Kernel) {
            // SAFETY: `run` has found the instruction set.
            unsafe { kernel.run::<Avx2>() }
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let wide = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl");
            // SAFETY: the features were found just before.
            return unsafe { if wide { avx512(kernel) } else { avx2(kernel) } };
        }
    }
    run_portable(kernel);
}

/// Runs a kernel in plain Rust.
pub fn run_portable(kernel: &mut impl Kernel) {
    // SAFETY: plain Rust needs no instruction set.
    unsafe { kernel.run::<Portable>() }
}
