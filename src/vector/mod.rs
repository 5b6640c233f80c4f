//! Portable vector code: floats in the registers of the processor, with the instruction set chosen at run time.
//!
//! Kernels are generic over a set of [`Instructions`] and inlined whole into one of the entry points below, each compiled
//! for its instruction set. A set has vectors of two widths, which together fit any number of channels: eight lanes, and
//! sixteen, which are one register with AVX-512 and a pair of them elsewhere. Since a kernel over channels never combines
//! lanes, AVX2 and AVX-512 give the same bits there.
#![expect(unsafe_code, reason = "vector instructions work on pointers; each caller says why they are valid")]

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use portable::{Portable, Single};

/// Floats in a narrow vector.
pub const NARROW_LANES: usize = 8;
/// Floats in a wide vector.
pub const WIDE_LANES: usize = 16;

/// A vector of floats. The results of a kernel differ between implementations only by the rounding of [`Vector::fma`].
pub trait Vector: Copy {
    /// Number of floats.
    const LANES: usize;

    /// All lanes the same.
    fn splat(value: f32) -> Self;

    /// # Safety
    /// `from` must be valid for reading [`Self::LANES`] floats, and the processor must have the instruction set.
    unsafe fn load(from: *const f32) -> Self;

    /// # Safety
    /// `to` must be valid for writing [`Self::LANES`] floats, and the processor must have the instruction set.
    unsafe fn store(self, to: *mut f32);

    /// Whole numbers from bytes.
    ///
    /// # Safety
    /// `from` must be valid for reading [`Self::LANES`] bytes, and the processor must have the instruction set.
    unsafe fn load_bytes(from: *const u8) -> Self;

    /// Whole numbers in 0..=255 to bytes.
    ///
    /// # Safety
    /// `to` must be valid for writing [`Self::LANES`] bytes, and the processor must have the instruction set.
    unsafe fn store_bytes(self, to: *mut u8);

    /// self · factor + sum, perhaps rounded once.
    fn fma(self, factor: Self, sum: Self) -> Self;

    /// self + other.
    fn add(self, other: Self) -> Self;

    /// max(self, 0), NaN for NaN.
    fn relu(self) -> Self;

    /// self where `other` is greater than zero, and zero elsewhere.
    fn where_positive(self, other: Self) -> Self;

    /// self where `left` equals `right`, and zero elsewhere.
    fn where_equal(self, left: Self, right: Self) -> Self;

    /// Replaces `best` by `value`, and `mark` by `new_mark`, where `value` is greater; NaN counts as greater than any number, but
    /// not than NaN.
    fn raise(best: &mut Self, value: Self, mark: &mut Self, new_mark: Self);

    /// Stores the first `count` lanes.
    ///
    /// # Safety
    /// `to` must be valid for writing `count` floats, at most [`Self::LANES`], and the processor must have the instruction
    /// set.
    unsafe fn store_first(self, to: *mut f32, count: usize);
}

/// A vector of [`NARROW_LANES`].
pub trait NarrowVector: Vector {
    /// The sum of the lanes of each of eight vectors: neighbours first, then neighbouring sums, and so on.
    fn sums(vectors: [Self; NARROW_LANES]) -> Self;
}

/// A vector of [`WIDE_LANES`].
pub trait WideVector: Vector {
    /// The vector of half the lanes.
    type Half: NarrowVector;

    /// The lower lanes plus the upper ones.
    fn fold(self) -> Self::Half;
}

/// An instruction set.
pub trait Instructions {
    /// Eight floats.
    type Narrow: NarrowVector;
    /// Sixteen floats.
    type Wide: WideVector<Half = Self::Narrow>;
    /// How many wide vectors the registers hold.
    const WIDE_REGISTERS: usize;
    /// Whether a product and a sum are one instruction.
    const FUSED: bool;

    /// a · b + c, rounded once if the instruction set has a fused instruction: for loops over plain numbers.
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        // `mul_add` is a slow library call where the processor lacks the instruction.
        if Self::FUSED { a.mul_add(b, c) } else { a * b + c }
    }
}

/// A computation that is generic over the instruction set.
pub trait Kernel {
    /// Computes with an instruction set.
    ///
    /// # Safety
    /// The processor has the instruction set.
    unsafe fn run<I: Instructions>(&mut self);
}

/// Runs a kernel with the best instruction set that the processor has.
pub fn run(kernel: &mut impl Kernel) {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            // SAFETY: the features were found just before.
            return unsafe { avx512(kernel) };
        }
        if has_avx2() {
            // SAFETY: the features were found just before.
            return unsafe { avx2(kernel) };
        }
    }
    portable(kernel);
}

/// The name of the instruction set that [`run`] uses: results of different sets may differ in their last bits.
pub fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if has_avx512() {
            return "AVX-512";
        }
        if has_avx2() {
            return "AVX2";
        }
    }
    std::env::consts::ARCH
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") && has_avx2()
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
fn avx512(kernel: &mut impl Kernel) {
    // SAFETY: this function may be called only where the instruction set is there.
    unsafe { kernel.run::<x86::Avx512>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(kernel: &mut impl Kernel) {
    // SAFETY: this function may be called only where the instruction set is there.
    unsafe { kernel.run::<x86::Avx2>() }
}

fn portable(kernel: &mut impl Kernel) {
    // SAFETY: plain Rust needs no instruction set.
    unsafe { kernel.run::<Portable>() }
}

/// Every instruction set by name, for tests that compare them.
#[cfg(test)]
pub const INSTRUCTION_SETS: [&str; 3] = ["portable", "AVX2", "AVX-512"];

/// Runs a kernel with one of [`INSTRUCTION_SETS`]; false if the processor lacks it.
#[cfg(test)]
pub fn run_with(instructions: &str, kernel: &mut impl Kernel) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        match instructions {
            // SAFETY: the features were found just before.
            "AVX2" if has_avx2() => unsafe { avx2(kernel) },
            // SAFETY: the features were found just before.
            "AVX-512" if has_avx512() => unsafe { avx512(kernel) },
            "portable" => portable(kernel),
            _ => return false,
        }
        true
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let known = instructions == "portable";
        if known {
            portable(kernel);
        }
        known
    }
}

/// A loop over plain numbers, compiled for every instruction set: its results are the same on all of them.
pub trait Loop {
    /// The loop.
    fn run(&mut self);
}

/// Runs a loop compiled for the best instruction set that the processor has.
pub fn vectorise(body: &mut impl Loop) {
    struct Body<'a, L>(&'a mut L);
    impl<L: Loop> Kernel for Body<'_, L> {
        #[inline(always)]
        unsafe fn run<I: Instructions>(&mut self) {
            self.0.run();
        }
    }
    run(&mut Body(body));
}

/// Prefetches bytes that will be read soon.
pub fn prefetch(bytes: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        const CACHE_LINE: usize = 64;
        for line in bytes.chunks(CACHE_LINE) {
            // SAFETY: a prefetch reads nothing that the program could see, and SSE is part of x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = bytes;
}
