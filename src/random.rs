//! Counter-based random numbers: each is a pure function of the seed and of what it is used for.
//!
//! Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a counter into four random
//! words, so that the numbers of one image depend on (seed, purpose, split, id, epoch) and on nothing else: not on the
//! thread, the batch or the images before it. Everything here uses only `+ - * /` and `sqrt`, which are the same on every
//! machine, and works on sixteen counters at a time, so that the compiler can use vector registers.

use serde::{Deserialize, Serialize};

use crate::image::Split;
use crate::vector::{Loop, vectorise};

/// Counters that one call turns into words.
const LANES: usize = 16;
/// Words of one call of the vectorised generator.
const BLOCK: usize = 4 * LANES;

/// The key of the cipher, shared by all generators for one purpose in one split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    key: [u32; 2],
}

impl Stream {
    /// The random numbers of the corruption of a split.
    pub fn noise(seed: u64, split: Split) -> Self {
        Self::new(seed, "noise", split)
    }

    /// The stream for `purpose` (a short constant name); different purposes never share numbers.
    pub fn new(seed: u64, purpose: &str, split: Split) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.update(split.name().as_bytes());
        hasher.update(b"/");
        hasher.update(purpose.as_bytes());
        Self::keyed(&hasher)
    }

    /// The key, for implementations of the cipher on a device.
    pub fn key(&self) -> [u32; 2] {
        self.key
    }

    /// The stream for a part of this one's purpose, which shares no numbers with it or with other parts.
    pub fn apart(&self, part: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        self.key.iter().for_each(|word| _ = hasher.update(&word.to_le_bytes()));
        hasher.update(part.as_bytes());
        Self::keyed(&hasher)
    }

    fn keyed(hasher: &blake3::Hasher) -> Self {
        let hash = hasher.finalize();
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| hash.as_bytes()[at + byte]));
        Self { key: [word(0), word(4)] }
    }

    /// The generator of one image (or any other numbered thing) in one epoch; stored data use epoch 0.
    pub fn generator(&self, id: u64, epoch: u32) -> Generator {
        Generator { key: self.key, counter: [0, epoch, id as u32, (id >> 32) as u32], words: [0; 4], left: 0 }
    }
}

/// The random numbers of one image.
#[derive(Debug, Clone)]
pub struct Generator {
    key: [u32; 2],
    counter: [u32; 4],
    words: [u32; 4],
    left: usize,
}

impl Generator {
    /// The generator of the same image and epoch in [`Stream::apart`].
    pub fn apart(&self, part: &str) -> Self {
        let [_, epoch, low, high] = self.counter;
        let counter = [0, epoch, low, high];
        Self { key: Stream { key: self.key }.apart(part).key, counter, words: [0; 4], left: 0 }
    }

    /// A uniformly distributed word.
    pub fn word(&mut self) -> u32 {
        if self.left == 0 {
            let words = philox::<1>(self.key, self.counter);
            self.words = words.map(|word| word[0]);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.left = 4;
        }
        self.left -= 1;
        self.words[3 - self.left]
    }

    /// A number in [0, 1), in steps of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        unit(self.word())
    }

    /// A number in 0..bound, by multiplication (Lemire 2019, without rejection: the bias is below bound / 2^32).
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.word()) * u64::from(bound)) >> 32) as u32
    }

    /// Fills `out` with independent numbers in [0, 1), in steps of 2^-24.
    pub fn fill_uniform(&mut self, out: &mut [f32]) {
        self.fill(out, Uniform);
    }

    /// Fills `out` with independent numbers of the standard normal distribution, by the transform of Box and Muller
    /// (1958). The largest magnitude is sqrt(2 ln 2^24) = 5.77.
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        self.fill(out, Normal);
    }

    /// Fills `out` in whole blocks of the vectorised generator; surplus numbers of the last block are dropped.
    fn fill(&mut self, out: &mut [f32], transform: impl Transform) {
        self.left = 0;
        vectorise(&mut Fill { generator: self, out, transform });
    }
}

/// Turns the random words of one block into numbers. A trait, since a closure would not be inlined into code for another
/// instruction set.
trait Transform {
    fn apply(&self, words: &[[u32; LANES]; 4], numbers: &mut [f32; BLOCK]);
}

struct Uniform;

impl Transform for Uniform {
    #[inline(always)]
    fn apply(&self, words: &[[u32; LANES]; 4], numbers: &mut [f32; BLOCK]) {
        for (words, numbers) in words.iter().zip(numbers.chunks_exact_mut(LANES)) {
            for lane in 0..LANES {
                numbers[lane] = unit(words[lane]);
            }
        }
    }
}

struct Normal;

impl Transform for Normal {
    #[inline(always)]
    fn apply(&self, words: &[[u32; LANES]; 4], numbers: &mut [f32; BLOCK]) {
        let (first, second) = numbers.split_at_mut(2 * LANES);
        box_muller(&words[0], &words[1], first);
        box_muller(&words[2], &words[3], second);
    }
}

struct Fill<'a, T> {
    generator: &'a mut Generator,
    out: &'a mut [f32],
    transform: T,
}

impl<T: Transform> Loop for Fill<'_, T> {
    #[inline(always)]
    fn run(&mut self) {
        let Generator { key, counter, .. } = self.generator;
        let mut numbers = [0.0; BLOCK];
        for chunk in self.out.chunks_mut(BLOCK) {
            let words = philox::<LANES>(*key, *counter);
            counter[0] = counter[0].wrapping_add(LANES as u32);
            self.transform.apply(&words, &mut numbers);
            chunk.copy_from_slice(&numbers[..chunk.len()]);
        }
    }
}

/// The upper 24 bits of a word as a number in [0, 1).
#[inline(always)]
fn unit(word: u32) -> f32 {
    (word >> 8) as i32 as f32 * (1.0 / (1 << 24) as f32)
}

/// Ten rounds of Philox over `N` consecutive counters; result `[word][lane]`.
#[inline(always)]
fn philox<const N: usize>(key: [u32; 2], counter: [u32; 4]) -> [[u32; N]; 4] {
    let [mut a, mut b, mut c, mut d] = counter.map(|word| [word; N]);
    for (lane, word) in a.iter_mut().enumerate() {
        *word = word.wrapping_add(lane as u32);
    }
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        for lane in 0..N {
            let first = u64::from(a[lane]) * 0xD251_1F53;
            let second = u64::from(c[lane]) * 0xCD9E_8D57;
            a[lane] = (second >> 32) as u32 ^ b[lane] ^ k0;
            b[lane] = second as u32;
            c[lane] = (first >> 32) as u32 ^ d[lane] ^ k1;
            d[lane] = first as u32;
        }
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [a, b, c, d]
}

/// Two normal numbers from each pair of words, into `out[..LANES]` and `out[LANES..]`.
#[inline(always)]
fn box_muller(radius: &[u32; LANES], angle: &[u32; LANES], out: &mut [f32]) {
    let (cosines, sines) = out.split_at_mut(LANES);
    for lane in 0..LANES {
        // (0, 1], so that the logarithm is finite.
        let uniform = ((radius[lane] >> 8) + 1) as i32 as f32 * (1.0 / (1 << 24) as f32);
        let radius = (-2.0 * ln(uniform)).sqrt();
        let (sine, cosine) = sine_cosine(angle[lane]);
        cosines[lane] = radius * cosine;
        sines[lane] = radius * sine;
    }
}

/// exp(-x) for x in [0, 87]; relative error below 2e-7. Polynomial of Cephes' `expf`.
pub fn exp_negative(x: f32) -> f32 {
    let twos = (x * std::f32::consts::LOG2_E + 0.5).floor();
    // ln 2 in two parts: the first has few bits, so that its product with the exponent is exact.
    let f = twos * 0.693_359_4 - x - twos * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * f + coefficient;
    }
    (p * f * f + f + 1.0) * f32::from_bits((127 - twos as u32) << 23)
}

/// Natural logarithm of a positive normal number; relative error below 2e-7. Polynomial of Cephes' `logf`.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    // Mantissa in [sqrt(1/2), sqrt(2)), so that the polynomial's argument is small.
    let high = (bits & 0x007F_FFFF) > 0x0035_04F3;
    let exponent = ((bits >> 23) as i32 - 127 + i32::from(high)) as f32;
    let f = f32::from_bits((bits & 0x007F_FFFF) | if high { 0x3F00_0000 } else { 0x3F80_0000 }) - 1.0;
    let mut p = 7.037_683_6e-2;
    for coefficient in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        p = p * f + coefficient;
    }
    // ln 2 in two parts: the first has few bits, so that its product with the exponent is exact.
    let low = p * f * f * f + exponent * -2.121_944_4e-4 - 0.5 * f * f;
    f + low + exponent * 0.693_359_4
}

/// Sine and cosine of a uniformly distributed angle made of the upper 24 bits of `word`: two bits name the quadrant, the
/// others an angle in [-π/4, π/4). Polynomials of Cephes' `sinf` and `cosf`.
#[inline(always)]
fn sine_cosine(word: u32) -> (f32, f32) {
    let quadrant = word >> 30;
    let fraction = ((word >> 8) & 0x003F_FFFF) as i32 as f32 * (1.0 / (1 << 22) as f32);
    let angle = (fraction - 0.5) * std::f32::consts::FRAC_PI_2;
    let z = angle * angle;
    let sine = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 1.666_665_5e-1) * z * angle + angle;
    let cosine = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * z * z - 0.5 * z + 1.0;
    let (s, c) = if quadrant & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
    let negate_sine = quadrant & 2 != 0;
    let negate_cosine = (quadrant + 1) & 2 != 0;
    (if negate_sine { -s } else { s }, if negate_cosine { -c } else { c })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the reference implementation (Random123 1.14, `kat_vectors`).
    #[test]
    fn philox_gives_the_known_answers() {
        let answer = |key, counter| philox::<1>(key, counter).map(|word| word[0]);
        assert_eq!(answer([0; 2], [0; 4]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(answer([!0; 2], [!0; 4]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = ([0xa409_3822, 0x299f_31d0], [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344]);
        assert_eq!(answer(pi.0, pi.1), [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    fn normals(count: usize) -> Vec<f32> {
        let stream = Stream::new(1, "test", Split::Train);
        let mut all = vec![0.0; count];
        for (id, chunk) in all.chunks_mut(784).enumerate() {
            stream.generator(id as u64, 3).fill_normal(chunk);
        }
        all
    }

    #[test]
    fn normal_numbers_have_the_moments_of_the_standard_normal() {
        let numbers = normals(784 * 2000);
        let count = numbers.len() as f64;
        let moment = |power: i32| numbers.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / count;
        // Standard errors at this count: 0.0008, 0.0011, 0.0031, 0.0078; the bounds are five of them.
        assert!(moment(1).abs() < 0.004, "mean {}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.006, "variance {}", moment(2));
        assert!(moment(3).abs() < 0.016, "skewness {}", moment(3));
        assert!((moment(4) - 3.0).abs() < 0.04, "kurtosis {}", moment(4));
    }

    #[test]
    fn normal_numbers_pass_the_kolmogorov_smirnov_test() {
        let mut numbers = normals(784 * 500);
        numbers.sort_by(f32::total_cmp);
        // Distribution function by the error function's series-free form of Abramowitz and Stegun, 7.1.26 (error 1.5e-7).
        let distribution = |x: f64| {
            let z = x.abs() / std::f64::consts::SQRT_2;
            let t = 1.0 / (1.0 + 0.3275911 * z);
            let series = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
            let p = series.iter().fold(0.0, |sum, coefficient| (sum * t) + coefficient) * t;
            let erf = 1.0 - p * (-z * z).exp();
            0.5 * (1.0 + erf * x.signum())
        };
        let count = numbers.len() as f64;
        let distance = numbers.iter().enumerate().fold(0.0_f64, |distance, (rank, &x)| {
            let f = distribution(f64::from(x));
            distance.max((f - rank as f64 / count).abs()).max((f - (rank as f64 + 1.0) / count).abs())
        });
        // The 0.1 % point of the Kolmogorov distribution.
        assert!(distance < 1.95 / count.sqrt(), "distance {distance}");
    }

    #[test]
    fn numbers_depend_on_every_part_of_the_key() {
        let first = |seed, purpose, split, id, epoch| {
            let mut out = [0.0; 3];
            Stream::new(seed, purpose, split).generator(id, epoch).fill_normal(&mut out);
            out
        };
        let base = first(1, "a", Split::Train, 1, 1);
        assert_eq!(base, first(1, "a", Split::Train, 1, 1));
        assert_ne!(base, first(2, "a", Split::Train, 1, 1));
        assert_ne!(base, first(1, "b", Split::Train, 1, 1));
        assert_ne!(base, first(1, "a", Split::Test, 1, 1));
        assert_ne!(base, first(1, "a", Split::Train, 1 << 32 | 1, 1));
        assert_ne!(base, first(1, "a", Split::Train, 1, 2));
    }

    #[test]
    fn parts_have_numbers_of_their_own_whatever_was_drawn_before() {
        let stream = Stream::new(1, "a", Split::Train);
        let mut generator = stream.generator(7, 2);
        let (mut own, mut part) = (generator.clone(), generator.apart("x"));
        let words = |generator: &mut Generator| [0; 3].map(|_| generator.word());
        assert_eq!(words(&mut part.clone()), words(&mut stream.apart("x").generator(7, 2)));
        words(&mut generator);
        assert_eq!(words(&mut part.clone()), words(&mut generator.apart("x")));
        assert_ne!(words(&mut part), words(&mut own));
        assert_ne!(words(&mut generator.apart("x")), words(&mut generator.apart("y")));
    }

    #[test]
    fn exponentials_are_precise() {
        for step in 0..870 {
            let x = step as f32 * 0.1;
            let (found, exact) = (f64::from(exp_negative(x)), (-f64::from(x)).exp());
            assert!((found / exact - 1.0).abs() < 2e-7, "{x}: {found} instead of {exact}");
        }
    }

    #[test]
    fn a_prefix_does_not_depend_on_the_length() {
        let generator = Stream::new(1, "a", Split::Train).generator(7, 0);
        let (mut long, mut short) = ([0.0; 200], [0.0; 65]);
        generator.clone().fill_normal(&mut long);
        generator.clone().fill_normal(&mut short);
        assert_eq!(long[..65], short);
    }
}
