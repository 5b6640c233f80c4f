//! Makes a scan of a clean page: on paper with grain, uneven light and folds, stained by cups and drops, with faded ink.

use crate::image::ImageShape;
use crate::random::Generator;
use crate::source::texture::{Lattice, blurred, direction};

/// Most folds, and most stains, of a page of [`AREA`].
const FOLDS: u32 = 3;
const STAINS: u32 = 6;
/// The area in pixels that these numbers are meant for; larger pages have more of both.
const AREA: usize = 256 * 256;

/// A random number of this range.
fn between(random: &mut Generator, [least, most]: [f32; 2]) -> f32 {
    least + (most - least) * random.uniform()
}

/// A scan of the page whose text is given, 0 for ink and 1 for paper.
pub fn stained(text: &[f32], shape: ImageShape, random: &mut Generator) -> Vec<f32> {
    let lattice = Lattice::draw(random);
    let mut light = paper(shape, &lattice, random);
    let times = shape.len().div_ceil(AREA).min(1000) as u32;
    for _ in 0..random.below(FOLDS * times + 1) {
        fold(&mut light, shape, random);
    }
    for _ in 0..random.below(STAINS * times + 1) {
        Stain::draw(shape, random).apply(&mut light, shape, &lattice);
    }
    // Ink is not quite black, and a scanner not quite sharp.
    let black = between(random, [0.03, 0.35]);
    let sharp = between(random, [0.0, 2.0]).min(1.0);
    let soft = blurred(text, shape);
    let mut noise = vec![0.0; shape.len()];
    random.fill_normal(&mut noise);
    let deviation = 0.03 * random.uniform();
    let pixels = light.iter().zip(text).zip(&soft).zip(&noise);
    let pixel = |(((light, text), soft), noise): (((&f32, &f32), &f32), &f32)| {
        let text = soft + sharp * (text - soft);
        (light * (black + (1.0 - black) * text) + deviation * noise).clamp(0.0, 1.0)
    };
    pixels.map(pixel).collect()
}

/// The brightness of empty paper.
fn paper(shape: ImageShape, lattice: &Lattice, random: &mut Generator) -> Vec<f32> {
    let brightness = between(random, [0.75, 1.0]);
    let [dy, dx] = direction(random);
    let steep = 0.25 * random.uniform() * random.uniform() / shape.height.max(shape.width) as f32;
    // Coarse clouds, fine grain, and the creases of paper that was crumpled.
    let [clouds, grain, creases] = [0.08, 0.08, 0.12].map(|most| most * random.uniform() * random.uniform());
    let frequencies = [[0.01, 0.06], [0.2, 0.9], [0.008, 0.04]].map(|range| between(random, range));
    let mut light = Vec::with_capacity(shape.len());
    for row in 0..shape.height {
        for column in 0..shape.width {
            let [y, x] = [row as f32, column as f32];
            let octaves = |index: usize| lattice.octaves(y * frequencies[index], x * frequencies[index]);
            // Ridges: where the numbers change their sign.
            let crease = 1.0 - (6.0 * octaves(2).abs()).min(1.0);
            let uneven = clouds * octaves(0) + grain * octaves(1) - creases * crease;
            light.push(brightness * (1.0 + steep * (y * dy + x * dx) + uneven));
        }
    }
    light
}

/// A straight fold: a thin line, and a shadow on one side of it.
fn fold(light: &mut [f32], shape: ImageShape, random: &mut Generator) {
    let [dy, dx] = direction(random);
    let [y, x] = [shape.height, shape.width].map(|side| random.uniform() * side as f32);
    let [line, shadow] = [between(random, [-0.2, 0.15]), between(random, [-0.15, 0.0])];
    let [thin, wide] = [between(random, [0.7, 2.5]), between(random, [3.0, 30.0])];
    for (row, light) in light.chunks_exact_mut(shape.width).enumerate() {
        for (column, light) in light.iter_mut().enumerate() {
            let across = (row as f32 - y) * dy + (column as f32 - x) * dx;
            let far = (across / thin).abs();
            let on_line = line / (1.0 + far * far);
            let beside = if across > 0.0 { shadow / (1.0 + across / wide) } else { 0.0 };
            *light *= 1.0 + on_line + beside;
        }
    }
}

/// What a cup or a drop has left.
struct Stain {
    centre: [f32; 2],
    radius: f32,
    /// The width of the ring, in pixels; more than the radius for a full disc.
    band: f32,
    /// Share of the light that it takes away.
    dark: f32,
    /// How much more its rim takes away.
    rim: f32,
    /// Pixels over which it begins and ends.
    edge: f32,
    /// How far its outline strays from a circle, in pixels.
    stray: f32,
    /// Changes of the outline, and of its strength, for each pixel.
    frequencies: [f32; 2],
    /// How much of it is missing, and how uneven the rest is.
    uneven: f32,
}

impl Stain {
    fn draw(shape: ImageShape, random: &mut Generator) -> Self {
        let centre = [shape.height, shape.width].map(|side| between(random, [-0.2, 1.2]) * side as f32);
        // Small drops are more frequent than cups.
        let radius = 3.0 + 110.0 * random.uniform() * random.uniform();
        let is_ring = random.below(2) == 0;
        let band = if is_ring { radius * between(random, [0.03, 0.4]) } else { 3.0 * radius };
        Self {
            centre,
            radius,
            band,
            dark: between(random, [0.05, 0.6]),
            rim: between(random, [-0.5, 0.5]).max(0.0),
            edge: 0.5 + 6.0 * random.uniform() * random.uniform(),
            stray: radius * between(random, [0.0, 0.4]),
            frequencies: [between(random, [0.5, 2.0]) / radius, between(random, [0.01, 0.1])],
            uneven: random.uniform(),
        }
    }

    /// Darkens the paper under it.
    fn apply(&self, light: &mut [f32], shape: ImageShape, lattice: &Lattice) {
        let reach = self.radius + self.stray + self.edge + 1.0;
        let span = |axis: usize, side: usize| {
            let [from, to] = [-reach, reach].map(|by| (self.centre[axis] + by).clamp(0.0, side as f32) as usize);
            from..to
        };
        for row in span(0, shape.height) {
            for column in span(1, shape.width) {
                let [y, x] = [row as f32, column as f32];
                let [down, aside] = [y - self.centre[0], x - self.centre[1]];
                let [outline, strength] = self.frequencies;
                let stray = self.stray * lattice.octaves(y * outline, x * outline);
                let inside = self.radius + stray - (down * down + aside * aside).sqrt();
                let covered = [inside, self.band - inside].map(|depth| (depth / self.edge + 0.5).clamp(0.0, 1.0));
                let rim = self.rim / (1.0 + (inside / (2.0 * self.edge)).abs());
                let even = 1.0 + self.uneven * 1.5 * lattice.octaves(y * strength, x * strength);
                let dark = self.dark * (1.0 + rim) * even.clamp(0.0, 1.2) * covered[0] * covered[1];
                light[row * shape.width + column] *= 1.0 - dark.min(0.9);
            }
        }
    }
}
