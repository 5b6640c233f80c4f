//! Draws a picture of overlapping textured shapes ("dead leaves": Lee, Mumford & Huang 2001, "Occlusion models for natural
//! images").
//!
//! Shapes whose radii r have a density in proportion to r⁻³ give the scale invariance of photographs: edges of every length,
//! smooth areas of every size, and texture. Denoisers trained on such pictures work on photographs (Achddou, Gousseau & Ladjal
//! 2021, "Synthetic images as a regularity prior for image restoration neural networks").
//!
//! Pictures are the same on every machine: only `+ - * /`, `sqrt` and rounding are used, which IEEE 754 defines to the last bit.

use crate::image::{ImageShape, to_bytes};
use crate::random::Generator;
use crate::source::texture::{Lattice, blurred, direction};

/// Range of the smallest radius of a picture's shapes, in pixels: some pictures are full of detail, others are not.
const LEAST_RADIUS: [f32; 2] = [2.5, 20.0];
/// Largest radius as a share of the shorter side.
const LARGEST_RADIUS: f32 = 0.45;
/// Area of all shapes together, of which the later hide the earlier, as a multiple of the picture's.
const COVERAGE: f32 = 5.0;
/// The bytes of a picture of this shape (1 or 3 channels), row by row, channels last.
pub fn draw(shape: ImageShape, random: &mut Generator) -> Vec<u8> {
    let ImageShape { height, width, channels } = shape;
    let lattice = Lattice::draw(random);
    let mut picture = vec![0.0; shape.len()];
    let ground = Fill::draw(channels, random);
    let whole = [0, height, 0, width];
    paint(&mut picture, shape, whole, &ground, &lattice, |_, _| 1.0);
    let shorter = height.min(width) as f32;
    let least = LEAST_RADIUS[0] + (LEAST_RADIUS[1] - LEAST_RADIUS[0]) * random.uniform();
    let largest = (LARGEST_RADIUS * shorter).max(least);
    let mut left = COVERAGE * (height * width) as f32;
    while left > 0.0 {
        // The inverse of the distribution function of the density in proportion to r⁻³ between the two radii.
        let [most, fewest] = [least, largest].map(|radius| 1.0 / (radius * radius));
        let radius = 1.0 / (most - random.uniform() * (most - fewest)).sqrt();
        left -= 3.0 * radius * radius;
        let centre = [height, width].map(|side| random.uniform() * side as f32);
        let outline = Outline::draw(radius, random);
        let fill = Fill::draw(channels, random);
        let span = |middle: f32, side: usize| {
            let [from, to] = [middle - radius - 1.0, middle + radius + 2.0].map(|edge| edge.clamp(0.0, side as f32));
            [from as usize, to as usize]
        };
        let ([top, bottom], [first, last]) = (span(centre[0], height), span(centre[1], width));
        paint(&mut picture, shape, [top, bottom, first, last], &fill, &lattice, |row, column| {
            outline.coverage(row as f32 + 0.5 - centre[0], column as f32 + 0.5 - centre[1])
        });
    }
    // A lens blurs: half of the pictures are sharp to the pixel, the others are not.
    if random.uniform() < 0.5 {
        picture = blurred(&picture, shape);
    }
    to_bytes(&picture)
}

/// The boundary of a shape around the origin.
enum Outline {
    /// Of this radius.
    Disc(f32),
    /// The unit vector along it, and half its length and width.
    Rectangle([f32; 2], [f32; 2]),
    /// Three unit normals of its sides, and their distance from the centre.
    Triangle([[f32; 2]; 3], f32),
}

impl Outline {
    /// An outline within `radius` of the origin.
    fn draw(radius: f32, random: &mut Generator) -> Self {
        match random.below(4) {
            0 | 1 => Outline::Disc(radius),
            2 => {
                // Its half diagonal is the radius.
                let along = direction(random);
                let ratio = 0.2 + 0.8 * random.uniform();
                let length = radius / (1.0 + ratio * ratio).sqrt();
                Outline::Rectangle(along, [length, length * ratio])
            }
            _ => {
                let [y, x] = direction(random);
                // Turned by a third each: cos 120° = -1/2, sin 120° = √3/2.
                let turned = [-0.5, 0.75_f32.sqrt()];
                let turn = |[y, x]: [f32; 2]| [y * turned[0] + x * turned[1], x * turned[0] - y * turned[1]];
                let second = turn([y, x]);
                Outline::Triangle([[y, x], second, turn(second)], 0.5 * radius)
            }
        }
    }

    /// The share of a pixel at this distance from the centre that the shape covers, from the distance to its boundary.
    fn coverage(&self, y: f32, x: f32) -> f32 {
        let inside = match self {
            Outline::Disc(radius) => radius - (y * y + x * x).sqrt(),
            Outline::Rectangle([dy, dx], [length, width]) => {
                let (along, across) = (y * dy + x * dx, y * dx - x * dy);
                (length - along.abs()).min(width - across.abs())
            }
            Outline::Triangle(normals, distance) => {
                normals.iter().fold(f32::MAX, |least, [ny, nx]| least.min(distance - (y * ny + x * nx)))
            }
        };
        (inside + 0.5).clamp(0.0, 1.0)
    }
}

/// The colours of a shape.
struct Fill {
    /// In the middle of the picture, of each channel in [0, 1].
    colour: [f32; 3],
    /// Change of brightness for each pixel down and to the right.
    slope: [f32; 2],
    texture: Texture,
    /// Half the range of brightness of the texture.
    contrast: f32,
}

/// What is added to a smooth colour.
enum Texture {
    None,
    /// Waves along a unit vector, with this many for each pixel.
    Waves([f32; 2], f32),
    /// Interpolated random numbers, an octave finer and half as strong each time, from this many numbers for each pixel on.
    Noise(f32),
}

impl Fill {
    fn draw(channels: usize, random: &mut Generator) -> Self {
        let brightness = 0.5 * (random.uniform() + random.uniform());
        // Most things are nearly grey.
        let saturation = 0.5 * random.uniform() * random.uniform();
        let mut colour = [brightness; 3];
        if channels == 3 {
            for channel in &mut colour {
                *channel = (brightness + saturation * (2.0 * random.uniform() - 1.0)).clamp(0.0, 1.0);
            }
        }
        let [dy, dx] = direction(random);
        let steep = 0.004 * random.uniform() * random.uniform();
        let texture = match random.below(4) {
            0 => Texture::None,
            1 => Texture::Waves(direction(random), 0.03 + 0.3 * random.uniform()),
            _ => Texture::Noise(0.02 + 0.3 * random.uniform()),
        };
        let contrast = 0.3 * random.uniform() * random.uniform();
        Self { colour, slope: [steep * dy, steep * dx], texture, contrast }
    }

    /// What is added to the colour at a pixel.
    fn shade(&self, y: f32, x: f32, middle: [f32; 2], lattice: &Lattice) -> f32 {
        let smooth = self.slope[0] * (y - middle[0]) + self.slope[1] * (x - middle[1]);
        let texture = match &self.texture {
            Texture::None => 0.0,
            Texture::Waves([dy, dx], frequency) => wave((y * dy + x * dx) * frequency),
            Texture::Noise(frequency) => lattice.octaves(y * frequency, x * frequency),
        };
        smooth + self.contrast * texture
    }
}

/// Parabolas in the place of a sine of period 1, from -1 to 1.
fn wave(turns: f32) -> f32 {
    let turn = turns - turns.floor();
    if turn < 0.5 { 16.0 * turn * (0.5 - turn) } else { -16.0 * (turn - 0.5) * (1.0 - turn) }
}

/// Lays a fill over the rows and columns [top, bottom, first, last], as opaque as `coverage` says of each pixel.
fn paint(
    picture: &mut [f32],
    shape: ImageShape,
    [top, bottom, first, last]: [usize; 4],
    fill: &Fill,
    lattice: &Lattice,
    coverage: impl Fn(usize, usize) -> f32,
) {
    let ImageShape { height, width, channels } = shape;
    let middle = [height, width].map(|side| side as f32 / 2.0);
    for row in top..bottom {
        for column in first..last {
            let opaque = coverage(row, column);
            if opaque > 0.0 {
                let shade = fill.shade(row as f32, column as f32, middle, lattice);
                let pixel = &mut picture[(row * width + column) * channels..][..channels];
                for (number, colour) in pixel.iter_mut().zip(fill.colour) {
                    *number += opaque * ((colour + shade).clamp(0.0, 1.0) - *number);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Split;
    use crate::random::Stream;

    fn drawn(height: usize, width: usize, channels: usize, id: u64) -> Vec<u8> {
        let random = &mut Stream::new(1, "scenes", Split::Train).generator(id, 0);
        draw(ImageShape { height, width, channels }, random)
    }

    #[test]
    fn pictures_have_any_size_and_their_edges_are_as_those_of_photographs() {
        for (height, width, channels) in [(1, 1, 1), (1, 7, 3), (50, 3, 1), (64, 96, 3)] {
            assert_eq!(drawn(height, width, channels, 0).len(), height * width * channels);
        }
        // Differences of neighbours in photographs have heavy tails: a kurtosis far above the 3 of a normal distribution.
        let (mut second, mut fourth, mut count) = (0.0, 0.0, 0.0);
        for id in 0..20 {
            let picture = drawn(128, 128, 1, id);
            for row in picture.chunks_exact(128) {
                for pair in row.windows(2) {
                    let difference = f64::from(pair[1]) - f64::from(pair[0]);
                    (second, fourth, count) = (second + difference.powi(2), fourth + difference.powi(4), count + 1.0);
                }
            }
        }
        let kurtosis = fourth / count / (second / count).powi(2);
        assert!(kurtosis > 10.0, "{kurtosis}");
        let deviation = (second / count).sqrt();
        assert!((4.0..40.0).contains(&deviation), "{deviation}");
    }

    #[test]
    fn a_picture_is_the_same_on_every_machine() {
        let digest = |height, width, channels| {
            let digest = blake3::hash(&drawn(height, width, channels, 3)).to_hex();
            digest[..16].to_owned()
        };
        assert_eq!([digest(60, 80, 1), digest(60, 80, 3)], ["278815f111daba87", "136bc5b709b4c1aa"]);
    }
}
