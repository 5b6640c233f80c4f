//! Draws lines of random words in a random typeface: black on white.
//!
//! A letter is a few strokes of a pen. A typeface is how wide, how slanted and how heavy letters are, how much thinner their
//! horizontal strokes are than the vertical ones, and whether strokes end in serifs.

use crate::image::ImageShape;
use crate::random::Generator;

/// Control points of a Catmull-Rom curve: one number XXYY each, x to the right and y downwards, in hundredths of the size of the
/// type. A point repeated at once is a sharp corner.
type Stroke = &'static [u16];

/// The width of a letter and its strokes. The base line is at 75, small letters reach up to 35, tall ones to 5.
type Letter = (u8, &'static [Stroke]);

const BOWL: Stroke = &[2535, 1341, 855, 1369, 2575, 3769, 4255, 3741, 2535];

/// The letters, from a to z.
#[rustfmt::skip]
const SMALL: [Letter; 26] = [
    (52, &[BOWL, &[4235, 4266, 5075]]),
    (50, &[BOWL, &[805, 875]]),
    (47, &[&[4143, 3536, 2535, 1341, 855, 1369, 2575, 3574, 4267]]),
    (52, &[BOWL, &[4205, 4275]]),
    (49, &[&[955, 4254, 4254, 3741, 2535, 1341, 855, 1369, 2575, 3574, 4267]]),
    (33, &[&[3909, 3005, 2212, 2024, 2075], &[835, 3535]]),
    (52, &[BOWL, &[4235, 4286, 3697, 2299, 1095]]),
    (50, &[&[805, 875], &[845, 2036, 3338, 3950, 3975]]),
    (21, &[&[1035, 1075], &[1018, 1020]]),
    (24, &[&[1435, 1488, 499], &[1418, 1420]]),
    (48, &[&[805, 875], &[3935, 856], &[1951, 4175]]),
    (21, &[&[1005, 1075]]),
    (70, &[&[835, 875], &[845, 1836, 2738, 3250, 3275], &[3245, 4236, 5138, 5650, 5675]]),
    (50, &[&[835, 875], &[845, 2036, 3338, 3950, 3975]]),
    (51, &[BOWL]),
    (50, &[BOWL, &[835, 899]]),
    (52, &[BOWL, &[4235, 4299]]),
    (37, &[&[835, 875], &[848, 1838, 3236]]),
    (43, &[&[3742, 2835, 1636, 1144, 2153, 3360, 3969, 2875, 1474, 867]]),
    (36, &[&[1815, 1866, 2575, 3472], &[635, 3335]]),
    (51, &[&[835, 862, 1574, 2874, 3962], &[3935, 3975]]),
    (45, &[&[635, 2275, 2275, 3835]]),
    (62, &[&[535, 1775, 1775, 3040, 3040, 4375, 4375, 5535]]),
    (46, &[&[735, 3975], &[3935, 775]]),
    (46, &[&[735, 2373], &[3935, 1799]]),
    (46, &[&[935, 3935, 3935, 875, 875, 3975]]),
];

/// Some capitals.
#[rustfmt::skip]
const CAPITALS: [Letter; 10] = [
    (60, &[&[475, 3006, 3006, 5675], &[1452, 4652]]),
    (60, &[&[5217, 3606, 1619, 840, 1662, 3675, 5264]]),
    (54, &[&[1006, 1075], &[1006, 4806], &[1039, 4039], &[1075, 4875]]),
    (62, &[&[1006, 1075], &[5206, 5275], &[1039, 5239]]),
    (26, &[&[1206, 1275]]),
    (52, &[&[1006, 1075], &[1075, 4675]]),
    (70, &[&[1075, 1006, 1006, 3560, 3560, 6006, 6006, 6075]]),
    (64, &[&[3306, 1617, 840, 1664, 3375, 5064, 5840, 5017, 3306]]),
    (54, &[&[1006, 1075], &[1006, 3606, 4716, 4728, 3640, 1040]]),
    (56, &[&[506, 5206], &[2806, 2875]]),
];

/// What may follow a word.
const MARKS: [Letter; 2] = [(24, &[&[1073, 1075]]), (24, &[&[1273, 1075, 787]])];

/// Letters as often as English has them.
const FREQUENT: &[u8; 60] = b"eeeeeeettttttaaaaaooooiiiinnnnsssshhhrrrddllluucmmfwygpbvkxz";

/// Range of the size of the type, in pixels.
const SIZE: [f32; 2] = [15.0, 36.0];

/// Straight segments that stand for one span between two control points.
const SPAN_SEGMENTS: u8 = 5;

/// How letters look on one page.
struct Typeface {
    /// Pixels of a hundredth of the type's height, and of its width.
    scale: [f32; 2],
    /// Shift to the right for each pixel up.
    slant: f32,
    /// Half the width of the widest stroke, in pixels.
    pen: f32,
    /// Width of horizontal strokes as a share of that of vertical ones.
    thin: f32,
    /// Half the length of serifs, in pixels; 0 for none.
    serif: f32,
    /// Pixels over which ink fades at an edge.
    edge: f32,
}

/// A page of text, row by row: 0 is ink, 1 paper.
pub fn draw(shape: ImageShape, random: &mut Generator) -> Vec<f32> {
    let mut page = Page { shape, ink: vec![0.0; shape.len()] };
    let mut between = |[least, most]: [f32; 2]| least + (most - least) * random.uniform();
    let size = between(SIZE);
    let typeface = Typeface {
        scale: [size / 100.0, between([0.85, 1.15]) * size / 100.0],
        slant: between([-0.25, 0.35]).max(0.0),
        pen: between([0.025, 0.055]) * size,
        thin: between([0.3, 1.1]).min(1.0),
        serif: between([-0.06, 0.09]).max(0.0) * size,
        edge: between([1.0, 1.5]),
    };
    let (leading, space) = (between([0.95, 1.5]) * size, between([0.2, 0.4]) * size);
    // The page is a part of a larger one: lines begin and end outside of it, as a rule.
    let (mut line, margin) = (between([-1.0, 0.5]) * leading, between([-4.0, 1.0]) * size);
    let (height, width) = (shape.height as f32, shape.width as f32);
    while line < height {
        // The last line of a paragraph is short.
        let end = if random.below(8) == 0 { random.uniform() * width } else { width };
        let mut left = margin + if random.below(8) == 0 { 2.0 * size } else { 0.0 };
        while left < end {
            let long = 1 + random.below(5) + random.below(6);
            for position in 0..long {
                let letter = match random.below(60) {
                    0..5 if position == 0 => CAPITALS[random.below(CAPITALS.len() as u32) as usize],
                    drawn => SMALL[usize::from(FREQUENT[drawn as usize] - b'a')],
                };
                left += page.letter(letter, [line, left], &typeface);
            }
            if let Some(mark) = MARKS.get(random.below(16) as usize) {
                left += page.letter(*mark, [line, left], &typeface);
            }
            left += space;
        }
        line += leading;
    }
    page.ink.iter().map(|ink| 1.0 - ink).collect()
}

/// A page that is being written on.
struct Page {
    shape: ImageShape,
    /// From 0 to 1 for every pixel.
    ink: Vec<f32>,
}

impl Page {
    /// Writes a letter whose upper left corner is at [y, x]; returns its width in pixels.
    fn letter(&mut self, (width, strokes): Letter, [y, x]: [f32; 2], typeface: &Typeface) -> f32 {
        let at = |point: u16| {
            let [down, across] = [point % 100, point / 100].map(f32::from);
            let up = (75.0 - down) * typeface.scale[0];
            [y + down * typeface.scale[0], x + across * typeface.scale[1] + up * typeface.slant]
        };
        let wide = f32::from(width) * typeface.scale[1];
        // Most of a page of text may lie outside of a small picture.
        if x > self.shape.width as f32 + wide || x + 3.0 * wide < 0.0 {
            return wide;
        }
        for stroke in strokes {
            let points: Vec<_> = stroke.iter().map(|&point| at(point)).collect();
            let last = points.len() - 1;
            for span in 0..last {
                let [before, from, to, after] =
                    [span.saturating_sub(1), span, span + 1, (span + 2).min(last)].map(|index| points[index]);
                let mut start = from;
                for step in 1..=SPAN_SEGMENTS {
                    let end = curve([before, from, to, after], f32::from(step) / f32::from(SPAN_SEGMENTS));
                    self.segment(start, end, typeface);
                    start = end;
                }
            }
            if typeface.serif > 0.0 {
                // Serifs stand where a straight vertical stroke, which is no dot, begins and ends.
                let [down, across] = [0, 1].map(|axis| (points[last][axis] - points[0][axis]).abs());
                if last == 1 && down > 2.0 * across && down > 4.0 * typeface.pen {
                    for [y, x] in [points[0], points[1]] {
                        self.segment([y, x - typeface.serif], [y, x + typeface.serif], typeface);
                    }
                }
            }
        }
        wide
    }

    /// Draws a straight piece of a stroke.
    fn segment(&mut self, from: [f32; 2], to: [f32; 2], typeface: &Typeface) {
        let [dy, dx] = [to[0] - from[0], to[1] - from[1]];
        let squared = dy * dy + dx * dx;
        // The more a stroke goes down, the wider it is.
        let down = if squared > 0.0 { dy * dy / squared } else { 1.0 };
        let pen = typeface.pen * (typeface.thin + (1.0 - typeface.thin) * down);
        let around = pen + typeface.edge;
        let span = |axis: usize, side: usize| {
            let least = (from[axis].min(to[axis]) - around).clamp(0.0, side as f32) as usize;
            let most = (from[axis].max(to[axis]) + around + 1.0).clamp(0.0, side as f32) as usize;
            least..most
        };
        for row in span(0, self.shape.height) {
            for column in span(1, self.shape.width) {
                let [y, x] = [row as f32 + 0.5 - from[0], column as f32 + 0.5 - from[1]];
                let along = if squared > 0.0 { ((y * dy + x * dx) / squared).clamp(0.0, 1.0) } else { 0.0 };
                let [y, x] = [y - along * dy, x - along * dx];
                let inside = (pen - (y * y + x * x).sqrt()) / typeface.edge + 0.5;
                let ink = &mut self.ink[row * self.shape.width + column];
                *ink = ink.max(inside.clamp(0.0, 1.0));
            }
        }
    }
}

/// The point at `t`, from 0 to 1, between the second and the third of four points of a Catmull-Rom curve.
fn curve([before, from, to, after]: [[f32; 2]; 4], t: f32) -> [f32; 2] {
    std::array::from_fn(|axis| {
        let [before, from, to, after] = [before[axis], from[axis], to[axis], after[axis]];
        let cubic = 3.0 * (from - to) + after - before;
        let square = 2.0 * before - 5.0 * from + 4.0 * to - after;
        from + 0.5 * t * (to - before + t * (square + t * cubic))
    })
}
