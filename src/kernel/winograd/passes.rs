//! The loops over tiles and over weights that apply the transforms.
#![expect(
    clippy::needless_range_loop,
    reason = "index loops over arrays of registers unroll; iterators may not inline"
)]

use std::marker::PhantomData;
use std::ops::Range;

use super::End;
use super::tiling::{Plane, Tiles};
use super::transform::{Transform, two_sided};
use crate::kernel::correlate::Weights;
use crate::vector::{Instructions, Kernel, NARROW_LANES, Vector, WIDE_LANES};

/// The `N`×`N` numbers of tiles, which are made of `F`×`F` pixels each.
pub struct Split<'a, X, const F: usize, const N: usize> {
    /// `[n, h, w, channels]`
    pub images: &'a [f32],
    /// Of each pixel, a multiple of the vectors' lanes.
    pub channels: usize,
    /// All tiles.
    pub all: Tiles,
    /// Where their pixels are.
    pub plane: Plane,
    /// Which of the tiles.
    pub tiles: Range<usize>,
    /// What is outside of the images.
    pub zeros: &'a [f32],
    /// `[N², tiles, channels]`
    pub to: &'a mut [f32],
    /// Which transform.
    pub transform: PhantomData<X>,
}

impl<X: Transform<F, N>, const F: usize, const N: usize> Kernel for Split<'_, X, F, N> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
        let Self { channels, all, plane, .. } = *self;
        let count = self.tiles.len();
        assert!(channels.is_multiple_of(NARROW_LANES) && self.zeros.len() >= channels);
        assert!(self.images.len() == plane.len(channels) && self.tiles.end <= all.count());
        assert!(self.to.len() >= N * N * count * channels);
        for (index, tile) in self.tiles.clone().enumerate() {
            let [image, tile_row, tile_column] = all.place(tile);
            let [top, left] = plane.place([tile_row, tile_column]);
            let cut = all.is_cut([tile_row, tile_column]);
            let mut from = [[self.zeros.as_ptr(); F]; F];
            for row in 0..F {
                for column in 0..F {
                    let (y, x) = (top.wrapping_add(row), left.wrapping_add(column));
                    if y < plane.height && x < plane.width {
                        let at = ((image * plane.height + y) * plane.width + x) * channels;
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
                    Self::tile::<I::Wide>(&from, cut, channel, to.add(channel), count * channels);
                    channel += WIDE_LANES;
                }
                while channel < channels {
                    Self::tile::<I::Narrow>(&from, cut, channel, to.add(channel), count * channels);
                    channel += NARROW_LANES;
                }
            }
        }
    }
}

impl<X: Transform<F, N>, const F: usize, const N: usize> Split<'_, X, F, N> {
    #[inline(always)]
    unsafe fn tile<V: Vector>(
        from: &[[*const f32; F]; F],
        cut: [bool; 2],
        channel: usize,
        to: *mut f32,
        stride: usize,
    ) {
        // SAFETY: passed on from the caller.
        unsafe {
            let mut x = [[V::splat(0.0); F]; F];
            for row in 0..F {
                for column in 0..F {
                    x[row][column] = V::load(from[row][column].add(channel));
                }
            }
            let numbers = two_sided::<V, X, F, N>(x, cut);
            for row in 0..N {
                for column in 0..N {
                    numbers[row][column].store(to.add((row * N + column) * stride));
                }
            }
        }
    }
}

/// The `T`×`T` pixels that are made of the `N`×`N` numbers of tiles.
pub struct Join<'a, X, const N: usize, const T: usize> {
    /// `[N², tiles, channels]`
    pub products: &'a [f32],
    /// Of each pixel, a multiple of the vectors' lanes.
    pub channels: usize,
    /// What follows.
    pub end: &'a End<'a>,
    /// All tiles.
    pub all: Tiles,
    /// Where their pixels are.
    pub plane: Plane,
    /// Which of the tiles.
    pub tiles: Range<usize>,
    /// `[n, h, w, channels]`
    pub to: &'a mut [f32],
    /// Which transform.
    pub transform: PhantomData<X>,
}

impl<X: Transform<N, T>, const N: usize, const T: usize> Kernel for Join<'_, X, N, T> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
        let Self { channels, all, plane, .. } = *self;
        let count = self.tiles.len();
        assert!(channels.is_multiple_of(NARROW_LANES) && self.end.bias.len() == channels);
        assert!(self.to.len() == plane.len(channels) && self.tiles.end <= all.count());
        assert!(self.products.len() >= N * N * count * channels);
        for (index, tile) in self.tiles.clone().enumerate() {
            let [image, tile_row, tile_column] = all.place(tile);
            let [top, left] = plane.place([tile_row, tile_column]);
            let cut = all.is_cut([tile_row, tile_column]);
            assert!(top < plane.height && left < plane.width);
            let at = ((image * plane.height + top) * plane.width + left) * channels;
            let room = [T.min(plane.height - top), T.min(plane.width - left)];
            // SAFETY: the numbers of the tiles were checked to be there; the tile begins inside its image, and has room for so many
            // rows and columns.
            unsafe {
                let from = self.products.as_ptr().add(index * channels);
                let to = self.to.as_mut_ptr().add(at);
                let mut channel = 0;
                while channel + WIDE_LANES <= channels {
                    self.tile::<I::Wide>(from.add(channel), cut, channel, to.add(channel), room);
                    channel += WIDE_LANES;
                }
                while channel < channels {
                    self.tile::<I::Narrow>(from.add(channel), cut, channel, to.add(channel), room);
                    channel += NARROW_LANES;
                }
            }
        }
    }
}

impl<X: Transform<N, T>, const N: usize, const T: usize> Join<'_, X, N, T> {
    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, from: *const f32, cut: [bool; 2], channel: usize, to: *mut f32, room: [usize; 2]) {
        let stride = self.tiles.len() * self.channels;
        // SAFETY: passed on from the caller.
        unsafe {
            let mut x = [[V::splat(0.0); N]; N];
            for row in 0..N {
                for column in 0..N {
                    x[row][column] = V::load(from.add((row * N + column) * stride));
                }
            }
            let mut made = two_sided::<V, X, N, T>(x, cut);
            let bias = V::load(self.end.bias.as_ptr().add(channel));
            for row in 0..T {
                for column in 0..T {
                    made[row][column] = made[row][column].add(bias);
                }
            }
            if self.end.relu {
                for row in 0..T {
                    for column in 0..T {
                        made[row][column] = made[row][column].relu();
                    }
                }
            }
            for row in 0..T {
                for column in 0..T {
                    if row < room[0] && column < room[1] {
                        let at = (row * self.plane.width + column) * self.channels;
                        made[row][column].store(to.add(at));
                    }
                }
            }
        }
    }
}

/// `T`×`T` matrices of weights, made of `F`×`F` ones of the same size, number by number.
pub struct Matrices<'a, X, const F: usize, const T: usize> {
    /// Matrices.
    pub from: &'a [Weights],
    /// Matrices.
    pub to: &'a mut [Weights],
    /// Which transform.
    pub transform: PhantomData<X>,
}

impl<X: Transform<F, T>, const F: usize, const T: usize> Kernel for Matrices<'_, X, F, T> {
    #[inline(always)]
    unsafe fn run<I: Instructions>(&mut self) {
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
                Self::numbers::<I::Wide>(&from, &to, at);
                at += WIDE_LANES;
            }
            while at < len {
                Self::numbers::<I::Narrow>(&from, &to, at);
                at += NARROW_LANES;
            }
        }
    }
}

impl<X: Transform<F, T>, const F: usize, const T: usize> Matrices<'_, X, F, T> {
    #[inline(always)]
    unsafe fn numbers<V: Vector>(from: &[[*const f32; F]; F], to: &[[*mut f32; T]; T], at: usize) {
        // SAFETY: passed on from the caller.
        unsafe {
            let mut x = [[V::splat(0.0); F]; F];
            for row in 0..F {
                for column in 0..F {
                    x[row][column] = V::load(from[row][column].add(at));
                }
            }
            let made = two_sided::<V, X, F, T>(x, [false; 2]);
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
    use super::super::transform::{OfInput, OfUpsampled, ToOutput, ToUpsampled};
    use super::super::{Scheme, Tiling};
    use super::*;
    use crate::vector::{INSTRUCTION_SETS, run_with};

    fn wave(len: usize, step: f32) -> Vec<f32> {
        (0..len).map(|index| (index as f32 * step).sin()).collect()
    }

    /// A wide and a narrow vector of channels.
    const CHANNELS: usize = 24;

    /// What each instruction set makes of tiles that pass the end of their image; the first of portable ones.
    fn transformed<X, Y, const F: usize, const N: usize, const T: usize>(tiling: Tiling) -> Vec<f32>
    where
        X: Transform<F, N>,
        Y: Transform<N, T>,
    {
        let channels = CHANNELS;
        let (all, from, to) = (tiling.tiles(), tiling.input(), tiling.output());
        let (tiles, images) = (0..all.count(), wave(from.len(channels), 0.7));
        let products = wave(N * N * tiles.len() * channels, 0.3);
        let (zeros, bias) = (vec![0.0; channels], wave(channels, 0.2));
        let end = End { bias: &bias, relu: true };
        let results = INSTRUCTION_SETS.map(|set| {
            let mut split = vec![0.0; products.len()];
            let mut joined = vec![0.0; to.len(channels)];
            let ran = run_with(
                set,
                &mut Split::<X, F, N> {
                    images: &images,
                    channels,
                    all,
                    plane: from,
                    tiles: tiles.clone(),
                    zeros: &zeros,
                    to: &mut split,
                    transform: PhantomData,
                },
            ) && run_with(
                set,
                &mut Join::<Y, N, T> {
                    products: &products,
                    channels,
                    end: &end,
                    all,
                    plane: to,
                    tiles: tiles.clone(),
                    to: &mut joined,
                    transform: PhantomData,
                },
            );
            ran.then(|| [split, joined].concat())
        });
        let portable = results[0].as_ref().expect("runs everywhere");
        for (set, numbers) in INSTRUCTION_SETS.iter().zip(&results) {
            for (expected, found) in portable.iter().zip(numbers.iter().flatten()) {
                assert!((expected - found).abs() < 1e-3, "{set}: {expected} {found}");
            }
        }
        portable.clone()
    }

    #[test]
    fn every_instruction_set_transforms_alike() {
        let tiling = Tiling { count: 2, height: 7, width: 5, around: [0, 0], scheme: Scheme::Same };
        let numbers = transformed::<OfInput, ToOutput, 6, 6, 4>(tiling);
        let images = wave(tiling.input().len(CHANNELS), 0.7);
        // What lies outside of the images is zero, and so the corner of the first tile is that of its pixels alone.
        let padded = |row: usize, column: usize| {
            let inside = row >= 1 && column >= 1 && column <= tiling.width;
            if inside { images[((row - 1) * tiling.width + column - 1) * CHANNELS] } else { 0.0 }
        };
        let first = |row: usize| 4.0 * padded(row, 0) - 5.0 * padded(row, 2) + padded(row, 4);
        let corner = 4.0 * first(0) - 5.0 * first(2) + first(4);
        assert!((numbers[0] - corner).abs() < 1e-4, "{} and not {corner}", numbers[0]);
    }

    #[test]
    fn every_instruction_set_transforms_what_is_upsampled_alike() {
        let scheme = Scheme::Upsample([7, 6]);
        let tiling = Tiling { count: 2, height: 4, width: 3, around: [0, 0], scheme };
        let numbers = transformed::<OfUpsampled, ToUpsampled, 3, 3, 2>(tiling);
        // Left of and above the first pixel are zeros: minus it, twice.
        assert_eq!(numbers[0], wave(1, 0.7)[0]);
    }
}
