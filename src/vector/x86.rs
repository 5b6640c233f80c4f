//! Vectors in the registers of x86-64 processors.
//!
//! The arithmetic is safe to call only where the processor has the instruction set: values of these types are created only
//! inside the entry points of [`super::run`], which check.

use std::arch::x86_64::*;

use super::portable::Several;
use super::{Instructions, NARROW_LANES, NarrowVector, Vector, WIDE_LANES, WideVector};

/// AVX2 with FMA.
pub struct Avx2;

impl Instructions for Avx2 {
    type Narrow = Eight;
    type Wide = Several<Eight, 2>;
    const WIDE_REGISTERS: usize = 8;
    const FUSED: bool = true;
}

/// AVX-512 (F and VL), which has twice the registers at either width.
pub struct Avx512;

impl Instructions for Avx512 {
    type Narrow = Eight;
    type Wide = Sixteen;
    const WIDE_REGISTERS: usize = 32;
    const FUSED: bool = true;
}

/// Eight floats in a register of AVX2.
#[derive(Clone, Copy)]
pub struct Eight(__m256);

/// Sixteen floats in a register of AVX-512.
#[derive(Clone, Copy)]
pub struct Sixteen(__m512);

impl Vector for Eight {
    const LANES: usize = NARROW_LANES;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see the head of the file.
        Self(unsafe { _mm256_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises eight readable floats; see the head of the file for the rest.
        Self(unsafe { _mm256_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises eight writable floats; see the head of the file for the rest.
        unsafe { _mm256_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self {
        // SAFETY: the caller promises eight readable bytes; see the head of the file for the rest.
        Self(unsafe { _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast()))) })
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        // SAFETY: the caller promises eight writable bytes; see the head of the file for the rest.
        unsafe {
            let whole = _mm256_cvttps_epi32(self.0);
            let words = _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(words, words));
        }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        // SAFETY: the caller promises `count` writable floats, and the others are masked; see the head of the file for the rest.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let mask = _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lanes);
            _mm256_maskstore_ps(to, mask, self.0);
        }
    }

    #[inline(always)]
    fn fma(self, factor: Self, sum: Self) -> Self {
        // SAFETY: see the head of the file.
        Self(unsafe { _mm256_fmadd_ps(self.0, factor.0, sum.0) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see the head of the file.
        Self(unsafe { _mm256_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn relu(self) -> Self {
        // The second operand is what comes out if one of them is NaN.
        // SAFETY: see the head of the file.
        Self(unsafe { _mm256_max_ps(_mm256_setzero_ps(), self.0) })
    }

    #[inline(always)]
    fn where_positive(self, other: Self) -> Self {
        // SAFETY: see the head of the file.
        unsafe {
            let mask = _mm256_cmp_ps::<_CMP_GT_OQ>(other.0, _mm256_setzero_ps());
            Self(_mm256_and_ps(mask, self.0))
        }
    }

    #[inline(always)]
    fn where_equal(self, left: Self, right: Self) -> Self {
        // SAFETY: see the head of the file.
        Self(unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(left.0, right.0), self.0) })
    }

    #[inline(always)]
    fn raise(best: &mut Self, value: Self, mark: &mut Self, new_mark: Self) {
        // SAFETY: see the head of the file.
        unsafe {
            // Greater, or one of them is NaN; but not if the best is.
            let mask = _mm256_cmp_ps::<_CMP_NLE_UQ>(value.0, best.0);
            let mask = _mm256_and_ps(mask, _mm256_cmp_ps::<_CMP_ORD_Q>(best.0, best.0));
            best.0 = _mm256_blendv_ps(best.0, value.0, mask);
            mark.0 = _mm256_blendv_ps(mark.0, new_mark.0, mask);
        }
    }
}

impl NarrowVector for Eight {
    #[inline(always)]
    fn sums([a, b, c, d, e, f, g, h]: [Self; NARROW_LANES]) -> Self {
        // SAFETY: see the head of the file.
        unsafe {
            let (ab, cd) = (_mm256_hadd_ps(a.0, b.0), _mm256_hadd_ps(c.0, d.0));
            let (ef, gh) = (_mm256_hadd_ps(e.0, f.0), _mm256_hadd_ps(g.0, h.0));
            let (abcd, efgh) = (_mm256_hadd_ps(ab, cd), _mm256_hadd_ps(ef, gh));
            let low = _mm256_permute2f128_ps::<0x20>(abcd, efgh);
            let high = _mm256_permute2f128_ps::<0x31>(abcd, efgh);
            Self(_mm256_add_ps(low, high))
        }
    }
}

impl Vector for Sixteen {
    const LANES: usize = WIDE_LANES;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        // SAFETY: see the head of the file.
        Self(unsafe { _mm512_set1_ps(value) })
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller promises sixteen readable floats; see the head of the file for the rest.
        Self(unsafe { _mm512_loadu_ps(from) })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller promises sixteen writable floats; see the head of the file for the rest.
        unsafe { _mm512_storeu_ps(to, self.0) }
    }

    #[inline(always)]
    unsafe fn load_bytes(from: *const u8) -> Self {
        // SAFETY: the caller promises sixteen readable bytes; see the head of the file for the rest.
        Self(unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast()))) })
    }

    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8) {
        // SAFETY: the caller promises sixteen writable bytes; see the head of the file for the rest.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(self.0))) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        let mask = ((1_u32 << count.min(WIDE_LANES)) - 1) as u16;
        // SAFETY: the caller promises `count` writable floats, and the others are masked; see the head of the file for the rest.
        unsafe { _mm512_mask_storeu_ps(to, mask, self.0) }
    }

    #[inline(always)]
    fn fma(self, factor: Self, sum: Self) -> Self {
        // SAFETY: see the head of the file.
        Self(unsafe { _mm512_fmadd_ps(self.0, factor.0, sum.0) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: see the head of the file.
        Self(unsafe { _mm512_add_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn relu(self) -> Self {
        // The second operand is what comes out if one of them is NaN.
        // SAFETY: see the head of the file.
        Self(unsafe { _mm512_max_ps(_mm512_setzero_ps(), self.0) })
    }

    #[inline(always)]
    fn where_positive(self, other: Self) -> Self {
        // SAFETY: see the head of the file.
        unsafe {
            let mask = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(other.0, _mm512_setzero_ps());
            Self(_mm512_maskz_mov_ps(mask, self.0))
        }
    }

    #[inline(always)]
    fn where_equal(self, left: Self, right: Self) -> Self {
        // SAFETY: see the head of the file.
        Self(unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_EQ_OQ>(left.0, right.0), self.0) })
    }

    #[inline(always)]
    fn raise(best: &mut Self, value: Self, mark: &mut Self, new_mark: Self) {
        // SAFETY: see the head of the file.
        unsafe {
            // Greater, or one of them is NaN; but not if the best is.
            let mask = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(best.0, best.0);
            let mask = _mm512_mask_cmp_ps_mask::<_CMP_NLE_UQ>(mask, value.0, best.0);
            best.0 = _mm512_mask_mov_ps(best.0, mask, value.0);
            mark.0 = _mm512_mask_mov_ps(mark.0, mask, new_mark.0);
        }
    }
}

impl WideVector for Sixteen {
    type Half = Eight;

    #[inline(always)]
    fn fold(self) -> Eight {
        // SAFETY: see the head of the file; both casts keep the bits.
        unsafe {
            let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self.0));
            Eight(_mm256_add_ps(_mm512_castps512_ps256(self.0), _mm256_castpd_ps(high)))
        }
    }
}
