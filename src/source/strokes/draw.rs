//! Draws handwritten-looking digits 0-9.
//!
//! A digit is a table of pen strokes (a few control points for
//! each style of writing it) put through random deformations, then drawn with a round pen and
//! framed as MNIST frames its digits (ink in a 20x20 box, centred by centre of mass in 28x28).
//!
//! Images are the same on every machine: only `+ - * /`, `sqrt` and rounding are used, which
//! IEEE 754 defines to the last bit. The mathematical library's `sin`, `exp` or `powf` may differ
//! between platforms in the last digit, so rotation uses short polynomials instead.

/// Side of the square images, in pixels.
pub const SIZE: usize = 28;

/// Mean of the longer side of the ink's bounding box, in pixels. The fade at both ends comes on
/// top, so that the visible ink fills MNIST's 20 pixels.
const BOX_SIDE: f32 = 19.6;

/// Width in pixels over which ink fades to background at a stroke's edge.
const EDGE: f32 = 1.1;

/// Distance in pixels between the strokes' edges and the image's edge. Half a pixel to the centres
/// of the border pixels and half of [`EDGE`] for the fade leave those pixels empty.
const MARGIN: f32 = 1.2;

/// Straight segments that stand for one curve span between two control points.
const SPAN_SEGMENTS: u8 = 6;

/// Standard deviation of a control point's own displacement, as a fraction of the digit's height.
const POINT_DEVIATION: f32 = 0.027;

/// Share of a control point's displacement that the next point of the stroke inherits. Without
/// it, neighbours move against each other and round strokes become polygons.
const DRIFT: f32 = 0.55;

/// Standard deviation of the pen's relative width from one control point to another.
const PRESSURE_DEVIATION: f32 = 0.1;

/// Control points of a Catmull-Rom curve. A point is one number XXYY: x to the right and y
/// downwards, both in hundredths of the digit's height. A point repeated at once is a sharp
/// corner. Equal numbers in one style are the same joint, displaced together, so strokes that
/// meet in the table still meet in the image.
type Stroke = &'static [u16];

/// One way of writing a digit.
type Style = &'static [Stroke];

/// Styles of each digit from 0 to 9, all equally frequent.
#[rustfmt::skip]
const STYLES: [&[Style]; 10] = [
    &[&[&[5501, 3013, 1850, 2785, 5298, 7784, 8648, 7414, 5501]],
      &[&[6605, 4205, 2030, 1564, 3192, 5997, 8172, 8332, 6609, 4202, 3310]],
      &[&[3612, 2030, 1868, 3693, 6097, 8275, 8432, 6806, 4402, 3116]]],
    &[&[&[5200, 5150, 5099]], &[&[5200, 5133, 5066, 5099]], &[&[5200, 4950, 5099]],
      &[&[5400, 5150, 5099]], &[&[5100, 5340, 5299]], &[&[5200, 5099]],
      &[&[3624, 4714, 5402, 5402, 5350, 5299]],
      &[&[3222, 4513, 5402, 5402, 5350, 5298], &[3098, 5298, 7497]]],
    &[&[&[2022, 3806, 6204, 7523, 6350, 4276, 1797, 1797, 5095, 8895]],
      &[&[2018, 4203, 6510, 7034, 5464, 3391, 1590, 1776, 4078, 6592, 9290]],
      &[&[2626, 3606, 6004, 7425, 6250, 4072, 2290, 3097, 4891, 6891, 8896]],
      &[&[2214, 4502, 6710, 6834, 5260, 3284, 1395, 1182, 3074, 6080, 9985]]],
    &[&[&[2212, 4501, 7012, 6735, 4448, 4448, 7056, 7876, 6095, 3498, 1686]],
      &[&[2006, 4804, 7604, 7604, 5924, 4543, 4543, 6749, 7770, 6594, 4098, 1888]],
      &[&[2417, 4402, 6610, 6332, 4847, 4451, 5749, 7563, 7387, 5099, 2292]]],
    &[&[&[2804, 2226, 2149, 3757, 6052, 8647], &[7401, 7235, 6870, 6699]],
      &[&[6201, 4131, 1861, 1861, 5061, 8660], &[6201, 6138, 6070, 5999]],
      &[&[2605, 2025, 2247, 4453, 7044, 7603, 7603, 7248, 6799]],
      &[&[3810, 2833, 1657, 1657, 4556, 9053], &[7812, 6240, 5268, 4699]]],
    &[&[&[3605, 3325, 3144, 3144, 5538, 7655, 7583, 4899, 2091], &[3605, 5705, 8601]],
      &[&[8003, 6004, 3705, 3705, 3224, 3045, 3045, 5741, 7559, 7183, 4798, 1892]],
      &[&[8404, 6003, 3906, 3425, 5143, 6958, 6882, 4798, 1590]],
      &[&[9801, 7105, 4509, 4509, 3827, 3243, 5246, 6864, 5984, 3798, 1094]]],
    &[&[&[6601, 4522, 2853, 2781, 4698, 6893, 7272, 5857, 4060, 2876]],
      &[&[5201, 3528, 2759, 3188, 5099, 7286, 7164, 5156, 3365, 2978]],
      &[&[7603, 5312, 3133, 2262, 2789, 4898, 6688, 6468, 4766, 3080]]],
    &[&[&[1712, 4810, 8006, 8006, 6738, 5567, 4899]],
      &[&[1812, 4809, 7805, 8115, 6742, 5270, 4499]],
      &[&[2026, 2110, 2110, 5008, 7906, 7906, 6640, 5270, 4799]],
      &[&[1812, 4809, 7905, 7905, 6540, 5270, 4699], &[3653, 5550, 7548]]],
    &[&[&[7014, 5002, 3013, 3533, 5549, 7169, 6492, 4398, 2986, 3566, 5646, 7027, 7014]],
      &[&[7309, 5202, 3213, 3735, 5954, 6782, 4898, 3083, 4058, 6338, 7520, 6905]],
      &[&[7812, 5503, 3514, 3934, 5554, 5883, 4298, 2883, 4060, 6138, 8009]],
      &[&[5002, 3211, 3334, 5047, 6733, 6911, 5002], &[5047, 2964, 2887, 5098, 7287, 7163, 5047]]],
    &[&[&[7018, 5202, 2917, 2840, 4650, 6538, 7018, 7018, 6858, 6299]],
      &[&[7114, 5302, 3014, 2738, 4649, 6636, 7114, 7114, 7249, 6883, 4999, 2990]],
      &[&[6609, 4404, 2623, 3041, 5143, 7027, 6707, 7137, 6568, 5699]],
      &[&[7310, 5404, 2928, 3046, 5138, 7310, 7310, 6545, 5370, 4299]]],
];

/// Position in x and y, and the pen's width relative to the image's mean width.
type PenPoint = [f32; 3];

/// Draws one handwritten-looking digit.
///
/// `label` is 0..=9 (a larger one is taken modulo 10) and `uniform` yields numbers in [0, 1); the
/// result is a pure function of both. Pixels are in row-major order: 0 is background, 255 full ink.
pub fn draw(label: u8, uniform: &mut impl FnMut() -> f32) -> [u8; SIZE * SIZE] {
    let styles = STYLES[usize::from(label % 10)];
    let choice = (uniform() * styles.len() as f32) as usize;
    let style = styles[choice.min(styles.len() - 1)];
    // Half the pen's width in pixels: about 1.3 on average, with a long tail of thick pens.
    let spread = bell(uniform);
    let pen_radius = (1.22 + 0.36 * spread + 0.06 * spread * spread).max(0.6);
    let mut segments = write(style, &Hand::new(uniform), uniform);
    frame(&mut segments, pen_radius, uniform);
    rasterize(&segments, pen_radius)
}

/// A bell-shaped random number: mean 0, standard deviation 1, within -3..3.
fn bell(uniform: &mut impl FnMut() -> f32) -> f32 {
    2.0 * (uniform() + uniform() + uniform()) - 3.0
}

/// The deformation that all strokes of one image share: a smooth bend, then an affine map.
struct Hand {
    /// Coefficients of xx, xy, yy and yyy in the displacement along x and y. A cubic polynomial
    /// over the digit is a wobble of less than one period: bent, never torn.
    bend: [[f32; 4]; 2],
    matrix: [[f32; 2]; 2],
}

impl Hand {
    fn new(uniform: &mut impl FnMut() -> f32) -> Self {
        let bend = [[0.2; 4]; 2].map(|row| row.map(|deviation| deviation * bell(uniform)));
        // Width relative to height. Writers lean to the right more often than to the left.
        let width = (1.12 + 0.23 * bell(uniform)).max(0.5);
        let slant = 0.16 + 0.25 * bell(uniform);
        let angle = 0.07 * bell(uniform);
        let square = angle * angle;
        let sine = angle * (1.0 - square / 6.0);
        let cosine = 1.0 - square / 2.0 + square * square / 24.0;
        let matrix = [[cosine * width, -cosine * slant - sine], [sine * width, cosine - sine * slant]];
        Self { bend, matrix }
    }

    /// Maps a point given relative to the digit's centre.
    fn apply(&self, x: f32, y: f32) -> [f32; 2] {
        let terms = [x * x, x * y, y * y, y * y * y];
        let [shift_x, shift_y] =
            self.bend.map(|row| row[0] * terms[0] + row[1] * terms[1] + row[2] * terms[2] + row[3] * terms[3]);
        let (x, y) = (x + shift_x, y + shift_y);
        self.matrix.map(|row| row[0] * x + row[1] * y)
    }
}

/// Writes a style with a given hand: displaced control points, flattened to straight segments.
fn write(style: Style, hand: &Hand, uniform: &mut impl FnMut() -> f32) -> Vec<[PenPoint; 2]> {
    let mut segments = Vec::with_capacity(96);
    let mut joints: Vec<(u16, PenPoint)> = Vec::with_capacity(24);
    let mut points: Vec<PenPoint> = Vec::with_capacity(16);
    for stroke in style {
        points.clear();
        let mut drift = [0.0; 2];
        for (index, &code) in stroke.iter().enumerate() {
            let point = match joints.iter().find(|(joint, _)| *joint == code) {
                Some((_, point)) => *point,
                None => {
                    // Hands differ most in where a stroke starts and ends.
                    let is_end = index == 0 || index + 1 == stroke.len();
                    let deviation = POINT_DEVIATION * if is_end { 2.0 } else { 1.0 };
                    for axis in &mut drift {
                        *axis = DRIFT * *axis + deviation * bell(uniform);
                    }
                    let x = f32::from(code / 100) / 100.0 - 0.5 + drift[0];
                    let y = f32::from(code % 100) / 100.0 - 0.5 + drift[1];
                    let [x, y] = hand.apply(x, y);
                    [x, y, 1.0 + PRESSURE_DEVIATION * bell(uniform)]
                }
            };
            joints.push((code, point));
            points.push(point);
        }
        flatten(&points, &mut segments);
    }
    segments
}

/// Appends the segments of the Catmull-Rom curve through `points`.
fn flatten(points: &[PenPoint], segments: &mut Vec<[PenPoint; 2]>) {
    for (index, pair) in points.windows(2).enumerate() {
        let (start, end) = (pair[0], pair[1]);
        // The two equal points of a corner: the curve would make a tiny loop between them.
        if start == end {
            continue;
        }
        let before = points[index.saturating_sub(1)];
        let after = points.get(index + 2).copied().unwrap_or(end);
        let mut from = start;
        for step in 1..=SPAN_SEGMENTS {
            let t = f32::from(step) / f32::from(SPAN_SEGMENTS);
            let to = std::array::from_fn(|axis| {
                let (p0, p1, p2, p3) = (before[axis], start[axis], end[axis], after[axis]);
                let linear = p2 - p0;
                let square = 2.0 * p0 - 5.0 * p1 + 4.0 * p2 - p3;
                let cube = 3.0 * (p1 - p2) + p3 - p0;
                p1 + 0.5 * t * (linear + t * (square + t * cube))
            });
            segments.push([from, to]);
            from = to;
        }
    }
}

/// Scales and moves the segments to pixel coordinates: the inked box has its longer side near
/// [`BOX_SIDE`], and the centre of mass lies within about a pixel of the image's centre.
fn frame(segments: &mut [[PenPoint; 2]], pen_radius: f32, uniform: &mut impl FnMut() -> f32) {
    let (mut low, mut high) = ([f32::MAX; 2], [f32::MIN; 2]);
    let (mut mass, mut moment) = (0.0, [0.0; 2]);
    for [from, to] in segments.iter() {
        let (along_x, along_y) = (to[0] - from[0], to[1] - from[1]);
        // Ink of a segment: its length times its mean width.
        let ink = (along_x * along_x + along_y * along_y).sqrt() * (from[2] + to[2]);
        mass += ink;
        for axis in 0..2 {
            low[axis] = low[axis].min(from[axis]).min(to[axis]);
            high[axis] = high[axis].max(from[axis]).max(to[axis]);
            moment[axis] += ink * 0.5 * (from[axis] + to[axis]);
        }
    }
    let side = BOX_SIDE + 0.35 * bell(uniform) - 2.0 * pen_radius;
    let scale = side / (high[0] - low[0]).max(high[1] - low[1]).max(0.01);
    for axis in 0..2 {
        let jitter = 0.35 * bell(uniform);
        let mass_centre = moment[axis] / mass.max(0.01);
        // A lopsided digit gives up some centring rather than touch the border.
        let reach = MARGIN + pen_radius * (1.0 + 3.0 * PRESSURE_DEVIATION);
        let shift = (SIZE as f32 / 2.0 + jitter - scale * mass_centre)
            .min(SIZE as f32 - reach - scale * high[axis])
            .max(reach - scale * low[axis]);
        for point in segments.iter_mut().flatten() {
            point[axis] = scale * point[axis] + shift;
        }
    }
}

/// Inks each pixel by its distance to the nearest stroke edge; strokes combine by maximum.
fn rasterize(segments: &[[PenPoint; 2]], pen_radius: f32) -> [u8; SIZE * SIZE] {
    let mut ink = [0.0_f32; SIZE * SIZE];
    for [from, to] in segments {
        let along = [to[0] - from[0], to[1] - from[1]];
        let length_squared = (along[0] * along[0] + along[1] * along[1]).max(1e-6);
        let (radius, radius_change) = (pen_radius * from[2], pen_radius * (to[2] - from[2]));
        let reach = radius.max(radius + radius_change) + EDGE / 2.0;
        let range = |axis: usize| {
            let low = from[axis].min(to[axis]) - reach;
            let high = from[axis].max(to[axis]) + reach;
            // Pixel centres lie at .5; a cast to usize saturates, so nothing can go out of range.
            ((low - 0.5).max(0.0) as usize)..((high + 0.5).max(0.0) as usize).min(SIZE)
        };
        for row in range(1) {
            let y = row as f32 + 0.5 - from[1];
            for column in range(0) {
                let x = column as f32 + 0.5 - from[0];
                let t = ((x * along[0] + y * along[1]) / length_squared).clamp(0.0, 1.0);
                let (off_x, off_y) = (x - t * along[0], y - t * along[1]);
                let distance_squared = off_x * off_x + off_y * off_y;
                if distance_squared < reach * reach {
                    let inside = radius + t * radius_change - distance_squared.sqrt();
                    let pixel = &mut ink[row * SIZE + column];
                    *pixel = pixel.max(0.5 + inside / EDGE);
                }
            }
        }
    }
    ink.map(|value| (255.0 * value.min(1.0) + 0.5) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in [0, 1) from a linear congruential generator.
    fn stream(seed: u64) -> impl FnMut() -> f32 {
        let mut state = seed;
        move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99_991);
            (state >> 40) as f32 / 16_777_216.0
        }
    }

    /// Fifty images of a class.
    fn images(label: u8) -> Vec<[u8; SIZE * SIZE]> {
        let mut uniform = stream(u64::from(label));
        (0..50).map(|_| draw(label, &mut uniform)).collect()
    }

    #[test]
    fn pixels_are_a_function_of_label_and_stream() {
        for label in 0..10 {
            assert_eq!(draw(label, &mut stream(7)), draw(label, &mut stream(7)));
            assert_ne!(draw(label, &mut stream(7)), draw(label, &mut stream(8)));
        }
        assert_ne!(draw(3, &mut stream(7)), draw(8, &mut stream(7)));
    }

    #[test]
    fn every_class_has_the_ink_of_handwriting() {
        for label in 0..10 {
            let pixels = images(label).concat();
            let sum: f32 = pixels.iter().map(|&pixel| f32::from(pixel)).sum();
            let mean = sum / 255.0 / pixels.len() as f32;
            assert!((0.05..0.30).contains(&mean), "class {label}: {mean}");
        }
    }

    #[test]
    fn digits_are_centred_and_leave_the_border_empty() {
        for (index, image) in (0..10).flat_map(images).enumerate() {
            let label = index / 50;
            let (mut mass, mut moment_x, mut moment_y) = (0.0, 0.0, 0.0);
            for (index, &pixel) in image.iter().enumerate() {
                let (row, column) = (index / SIZE, index % SIZE);
                let on_border = [row, column].iter().any(|&at| at == 0 || at == SIZE - 1);
                assert!(pixel == 0 || !on_border, "class {label}: ink on the border");
                mass += f32::from(pixel);
                moment_x += f32::from(pixel) * (column as f32 + 0.5);
                moment_y += f32::from(pixel) * (row as f32 + 0.5);
            }
            for moment in [moment_x, moment_y] {
                let offset = moment / mass - SIZE as f32 / 2.0;
                assert!(offset.abs() < 2.0, "class {label}: off by {offset} px");
            }
        }
    }

    #[test]
    fn odd_labels_and_numbers_still_draw() {
        assert_eq!(draw(13, &mut stream(7)), draw(3, &mut stream(7)));
        for value in [0.0, 1.0, -5.0, 1e30, f32::INFINITY, f32::NAN] {
            for label in 0..10 {
                draw(label, &mut || value);
            }
        }
    }
}
