//! The loops over tiles and over weights that apply the transforms.
#![expect(
    clippy::needless_range_loop,
    reason = "index loops over arrays of registers unroll; iterators may not inline"
)]

use std::marker::PhantomData;
use std::ops::Range;

use super::transform::{OfKernel, ToKernel, ToOutput, Transform, two_sided};
use super::{End, INPUT, TAPS, TILE, Tiling};
use crate::kernel::correlate::Weights;
use crate::vector::{Instructions, Kernel, NARROW_LANES, Vector, WIDE_LANES};

/// The 36 numbers of tiles, which are made of `F`×`F` pixels each.
pub struct Split<'a, X, const F: usize> {
    /// `[n, h, w, channels]`
    pub images: &'a [f32],
    /// Of each pixel, a multiple of the vectors' lanes.
    pub channels: usize,
    /// How the images are cut.
    pub tiling: Tiling,
    /// Which tiles.
    pub tiles: Range<usize>,
    /// What is outside of the images.
    pub zeros: &'a [f32],
    /// `[36, tiles, channels]`
    pub to: &'a mut [f32],
    /// Which transform.
    pub transform: PhantomData<X>,
}

impl<X: Transform<F, INPUT>, const F: usize> Kernel for Split<'_, X, F> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
        let Self { channels, tiling, .. } = *self;
        let count = self.tiles.len();
        assert!(channels.is_multiple_of(NARROW_LANES) && self.zeros.len() == channels);
        let (rows, above) = (tiling.input_height(), tiling.around[0]);
        assert!(self.images.len() == tiling.input_len(channels) && self.tiles.end <= tiling.tiles());
        assert!(self.to.len() >= INPUT * INPUT * count * channels);
        // Inputs begin before the tile.
        let border = (F - TILE) / 2;
        for (index, tile) in self.tiles.clone().enumerate() {
            let [image, top, left] = tiling.place(tile);
            let mut from = [[self.zeros.as_ptr(); F]; F];
            for row in 0..F {
                for column in 0..F {
                    let (y, x) = ((above + top + row).wrapping_sub(border), (left + column).wrapping_sub(border));
                    if y < rows && x < tiling.width {
                        let at = ((image * rows + y) * tiling.width + x) * channels;
                        // SAFETY: the pixel lies inside the images, whose size was checked.
                        from[row][column] = unsafe { self.images.as_ptr().add(at) };
                    }
                }
            }
            // SAFETY: each pixel and the zeros have all channels; the numbers of the tiles were checked to fit.
            unsafe {
                let to = self.to.as_mut_ptr().add(index * channels);
                let mut channel = 0;
                while channel + WIDE_LANES <= channels {
                    Self::tile::<I::Wide>(&from, channel, to.add(channel), count * channels);
                    channel += WIDE_LANES;
                }
                while channel < channels {
                    Self::tile::<I::Narrow>(&from, channel, to.add(channel), count * channels);
                    channel += NARROW_LANES;
                }
            }
        }
    }
}

impl<X: Transform<F, INPUT>, const F: usize> Split<'_, X, F> {
    #[inline(always)]
    unsafe fn tile<V: Vector>(from: &[[*const f32; F]; F], channel: usize, to: *mut f32, stride: usize) {
        // SAFETY: passed on from the caller.
        unsafe {
            let mut x = [[V::splat(0.0); F]; F];
            for row in 0..F {
                for column in 0..F {
                    x[row][column] = V::load(from[row][column].add(channel));
                }
            }
            let numbers = two_sided::<V, X, F, INPUT>(x);
            for row in 0..INPUT {
                for column in 0..INPUT {
                    numbers[row][column].store(to.add((row * INPUT + column) * stride));
                }
            }
        }
    }
}

/// The outputs of tiles, made of their 36 numbers.
pub struct Join<'a> {
    /// `[36, tiles, channels]`
    pub products: &'a [f32],
    /// Of each pixel, a multiple of the vectors' lanes.
    pub channels: usize,
    /// What follows.
    pub end: &'a End<'a>,
    /// How the images are cut.
    pub tiling: Tiling,
    /// Which tiles.
    pub tiles: Range<usize>,
    /// `[n, h, w, channels]`
    pub to: &'a mut [f32],
}

impl Kernel for Join<'_> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
        let Self { channels, tiling, .. } = *self;
        let count = self.tiles.len();
        assert!(channels.is_multiple_of(NARROW_LANES) && self.end.bias.len() == channels);
        assert!(self.to.len() == tiling.len(channels) && self.tiles.end <= tiling.tiles());
        assert!(self.products.len() >= INPUT * INPUT * count * channels);
        for (index, tile) in self.tiles.clone().enumerate() {
            let [image, top, left] = tiling.place(tile);
            let at = ((image * tiling.height + top) * tiling.width + left) * channels;
            let room = [TILE.min(tiling.height - top), TILE.min(tiling.width - left)];
            // SAFETY: the numbers of the tiles were checked to be there; the tile begins inside its image, and has room for so many
            // rows and columns.
            unsafe {
                let from = self.products.as_ptr().add(index * channels);
                let to = self.to.as_mut_ptr().add(at);
                let mut channel = 0;
                while channel + WIDE_LANES <= channels {
                    self.tile::<I::Wide>(from.add(channel), channel, to.add(channel), room);
                    channel += WIDE_LANES;
                }
                while channel < channels {
                    self.tile::<I::Narrow>(from.add(channel), channel, to.add(channel), room);
                    channel += NARROW_LANES;
                }
            }
        }
    }
}

impl Join<'_> {
    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, from: *const f32, channel: usize, to: *mut f32, room: [usize; 2]) {
        let stride = self.tiles.len() * self.channels;
        // SAFETY: passed on from the caller.
        unsafe {
            let mut x = [[V::splat(0.0); INPUT]; INPUT];
            for row in 0..INPUT {
                for column in 0..INPUT {
                    x[row][column] = V::load(from.add((row * INPUT + column) * stride));
                }
            }
            let mut made = two_sided::<V, ToOutput, INPUT, TILE>(x);
            let bias = V::load(self.end.bias.as_ptr().add(channel));
            for row in 0..TILE {
                for column in 0..TILE {
                    made[row][column] = made[row][column].add(bias);
                }
            }
            if self.end.relu {
                for row in 0..TILE {
                    for column in 0..TILE {
                        made[row][column] = made[row][column].relu();
                    }
                }
            }
            for row in 0..TILE {
                for column in 0..TILE {
                    if row < room[0] && column < room[1] {
                        let at = (row * self.tiling.width + column) * self.channels;
                        made[row][column].store(to.add(at));
                    }
                }
            }
        }
    }
}

/// `T`×`T` matrices of weights, made of `F`×`F` ones of the same size, number by number.
pub struct Matrices<'a, X> {
    /// Matrices.
    pub from: &'a [Weights],
    /// Matrices.
    pub to: &'a mut [Weights],
    /// Which transform.
    pub transform: PhantomData<X>,
}

impl Kernel for Matrices<'_, OfKernel> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
        // SAFETY: passed on from the caller.
        unsafe { self.each::<I, TAPS, INPUT>() }
    }
}

impl Kernel for Matrices<'_, ToKernel> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
        // SAFETY: passed on from the caller.
        unsafe { self.each::<I, INPUT, TAPS>() }
    }
}

impl<X> Matrices<'_, X> {
    #[inline(always)]
    unsafe fn each<I: Instructions, const F: usize, const T: usize>(&mut self)
    where
        X: Transform<F, T>,
    {
        let len = self.from[0].values.len();
        assert!(self.from.len() == F * F && self.to.len() == T * T && len.is_multiple_of(NARROW_LANES));
        let mut from = [[std::ptr::null(); F]; F];
        for (index, matrix) in self.from.iter().enumerate() {
            assert_eq!(matrix.values.len(), len, "matrices of weights have the same size");
            from[index / F][index % F] = matrix.values.as_ptr();
        }
        let mut to = [[std::ptr::null_mut(); T]; T];
        for (index, matrix) in self.to.iter_mut().enumerate() {
            assert_eq!(matrix.values.len(), len, "matrices of weights have the same size");
            to[index / T][index % T] = matrix.values.as_mut_ptr();
        }
        // SAFETY: all matrices have this length, which the vectors cover.
        unsafe {
            let mut at = 0;
            while at + WIDE_LANES <= len {
                Self::numbers::<I::Wide, F, T>(&from, &to, at);
                at += WIDE_LANES;
            }
            while at < len {
                Self::numbers::<I::Narrow, F, T>(&from, &to, at);
                at += NARROW_LANES;
            }
        }
    }

    #[inline(always)]
    unsafe fn numbers<V: Vector, const F: usize, const T: usize>(
        from: &[[*const f32; F]; F],
        to: &[[*mut f32; T]; T],
        at: usize,
    ) where
        X: Transform<F, T>,
    {
        // SAFETY: passed on from the caller.
        unsafe {
            let mut x = [[V::splat(0.0); F]; F];
            for row in 0..F {
                for column in 0..F {
                    x[row][column] = V::load(from[row][column].add(at));
                }
            }
            let made = two_sided::<V, X, F, T>(x);
            for row in 0..T {
                for column in 0..T {
                    made[row][column].store(to[row][column].add(at));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::transform::OfInput;
    use super::*;
    use crate::vector::{INSTRUCTION_SETS, run_with};

    #[test]
    fn every_instruction_set_transforms_alike() {
        let wave = |len: usize, step: f32| (0..len).map(|index| (index as f32 * step).sin()).collect::<Vec<_>>();
        // A wide and a narrow vector of channels; tiles that pass the end of their image.
        let (channels, tiling) = (24, Tiling { count: 2, height: 7, width: 5, around: [0, 0] });
        let (tiles, images) = (0..tiling.tiles(), wave(tiling.len(channels), 0.7));
        let products = wave(INPUT * INPUT * tiles.len() * channels, 0.3);
        let (zeros, bias) = (vec![0.0; channels], wave(channels, 0.2));
        let end = End { bias: &bias, relu: true };
        let results = INSTRUCTION_SETS.map(|set| {
            let mut split = vec![0.0; products.len()];
            let mut joined = vec![0.0; images.len()];
            let ran = run_with(
                set,
                &mut Split::<OfInput, INPUT> {
                    images: &images,
                    channels,
                    tiling,
                    tiles: tiles.clone(),
                    zeros: &zeros,
                    to: &mut split,
                    transform: PhantomData,
                },
            ) && run_with(
                set,
                &mut Join { products: &products, channels, end: &end, tiling, tiles: tiles.clone(), to: &mut joined },
            );
            ran.then(|| [split, joined].concat())
        });
        let portable = results[0].as_ref().expect("runs everywhere");
        for (set, numbers) in INSTRUCTION_SETS.iter().zip(&results) {
            for (expected, found) in portable.iter().zip(numbers.iter().flatten()) {
                assert!((expected - found).abs() < 1e-3, "{set}: {expected} {found}");
            }
        }
        // What lies outside of the images is zero, and so the corner of the first tile is that of its pixels alone.
        let padded = |row: usize, column: usize| {
            let inside = row >= 1 && column >= 1 && column <= tiling.width;
            if inside { images[((row - 1) * tiling.width + column - 1) * channels] } else { 0.0 }
        };
        let first = |row: usize| 4.0 * padded(row, 0) - 5.0 * padded(row, 2) + padded(row, 4);
        let corner = 4.0 * first(0) - 5.0 * first(2) + first(4);
        assert!((portable[0] - corner).abs() < 1e-4, "{} and not {corner}", portable[0]);
    }
}
