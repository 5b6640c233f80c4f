//! Parts of pictures that limpid draws itself: random textures, directions, and a blur.
//!
//! They are the same on every machine: only `+ - * /`, `sqrt` and rounding are used, which IEEE 754 defines to the last bit.

use crate::image::ImageShape;
use crate::random::Generator;

/// Side of the square table of random numbers that textures are interpolated from; a power of two.
const SIDE: usize = 64;

/// A table of random numbers that textures are interpolated from; it repeats in both directions.
pub struct Lattice(Vec<f32>);

impl Lattice {
    /// A random one.
    pub fn draw(random: &mut Generator) -> Self {
        let mut numbers = vec![0.0; SIDE * SIDE];
        random.fill_uniform(&mut numbers);
        Self(numbers)
    }

    /// A smooth interpolation, from -1 to 1; a unit of `y` and `x` is the distance of two numbers.
    pub fn value(&self, y: f32, x: f32) -> f32 {
        let (row, column) = (y.floor(), x.floor());
        let smooth = |t: f32| t * t * (3.0 - 2.0 * t);
        let (down, right) = (smooth(y - row), smooth(x - column));
        let (row, column) = (row as i64 as usize, column as i64 as usize);
        let at = |down: usize, right: usize| {
            self.0[(row.wrapping_add(down) % SIDE) * SIDE + column.wrapping_add(right) % SIDE]
        };
        let upper = at(0, 0) + right * (at(0, 1) - at(0, 0));
        let lower = at(1, 0) + right * (at(1, 1) - at(1, 0));
        2.0 * (upper + down * (lower - upper)) - 1.0
    }

    /// The same in four octaves, each finer and half as strong as the one before.
    pub fn octaves(&self, y: f32, x: f32) -> f32 {
        let octaves = [(1.0, 0.5), (2.0, 0.25), (4.0, 0.125), (8.0, 0.0625)];
        octaves.map(|(finer, weight)| weight * self.value(y * finer, x * finer)).iter().sum()
    }
}

/// A random unit vector.
pub fn direction(random: &mut Generator) -> [f32; 2] {
    loop {
        let [y, x] = [random.uniform(), random.uniform()].map(|number| 2.0 * number - 1.0);
        let squared = y * y + x * x;
        if squared > 0.01 && squared <= 1.0 {
            let length = squared.sqrt();
            return [y / length, x / length];
        }
    }
}

/// The picture convolved with [1 2 1] / 4 in both directions; borders are repeated.
pub fn blurred(picture: &[f32], ImageShape { height, width, channels }: ImageShape) -> Vec<f32> {
    let pass = |from: &[f32], step: usize, position: &dyn Fn(usize) -> usize, side: usize| -> Vec<f32> {
        let blur = |at: usize| {
            let before = if position(at) == 0 { at } else { at - step };
            let after = if position(at) + 1 == side { at } else { at + step };
            0.25 * from[before] + 0.5 * from[at] + 0.25 * from[after]
        };
        (0..from.len()).map(blur).collect()
    };
    let rows = pass(picture, width * channels, &|at| at / (width * channels), height);
    pass(&rows, channels, &|at| at / channels % width, width)
}
