//! The 3×3 convolution and its gradients on slices: alone, after nearest upsampling, or before max-pooling.
//!
//! After upsampling, neighbouring outputs depend on the same input pixels: an output row has one of three kinds (even, odd, and
//! last where the size is odd), each of which reads two input rows with weights that are sums of the three. The enlarged
//! image is therefore never built, and four 2×2 convolutions do 4/9 of its arithmetic. Images are processed one at a time, so
//! that intermediate results stay in the cache.

use super::accumulate::Accumulate;
use super::correlate::{Aligned, Correlate, Grid, Weights, padded};
use super::pool::{MaxPool, Spread};
use super::taps::{BACK, BACK_LAST, EVEN, FLIPPED, Fold, LAST, ODD, PLAIN, Taps};
use super::winograd;
use crate::vector::{self, NARROW_LANES};

/// A change of the size of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// Nothing.
    None,
    /// Nearest upsampling before the convolution, to so many rows and columns: twice the old ones or one less.
    Upsample([usize; 2]),
    /// A 2×2 max-pooling after the convolution and its activation; odd sizes keep their last row and column.
    MaxPool,
}

/// Sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Images.
    pub count: usize,
    /// Rows of the input that outputs are computed for.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// The change of size.
    pub resize: Resize,
    /// How it is computed.
    pub how: How,
}

/// How a convolution is computed, and of what: of whole images unless set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct How {
    /// The method.
    pub method: Method,
    /// Rows of the input before and after those that outputs are computed for, 0 or 1 each: what stands in the place of zeros.
    pub around: [usize; 2],
}

impl From<Method> for How {
    fn from(method: Method) -> Self {
        Self { method, around: [0, 0] }
    }
}

/// How a convolution is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Pixel by pixel: the same pixels give the same bits wherever they are in an image, and in whichever part of it.
    Direct,
    /// By Winograd's minimal filtering, where that is faster: a pixel's last bits depend on its place, and on its neighbours.
    Fastest,
}

impl Method {
    /// Side of the blocks of pixels whose last bits depend on the same inputs: blocks begin at its multiples.
    pub fn block(self) -> usize {
        match self {
            Method::Direct => 1,
            Method::Fastest => winograd::TILE,
        }
    }
}

/// Output of a convolution.
pub struct Output {
    /// `[n, h, w, outputs]`
    pub values: Vec<f32>,
    /// With a pooling, the pixel that each maximum came from.
    pub origin: Option<Vec<u8>>,
}

/// Gradients of a convolution.
pub struct Gradients {
    /// Of the input `[n, h, w, inputs]`, if requested.
    pub input: Option<Vec<f32>>,
    /// Of the weights `[outputs, inputs, 3, 3]`.
    pub weight: Vec<f32>,
    /// Of the bias.
    pub bias: Vec<f32>,
}

/// Pixels that are convolved with the same weights.
struct Pass {
    rows: Fold,
    columns: Fold,
    grid: Grid,
}

impl Sizes {
    /// Rows and columns that the convolution computes.
    pub fn convolved(&self) -> [usize; 2] {
        match self.resize {
            Resize::Upsample(size) => size,
            Resize::None | Resize::MaxPool => [self.height, self.width],
        }
    }

    /// Rows and columns of the output.
    pub fn output(&self) -> [usize; 2] {
        let convolved = self.convolved();
        if self.resize == Resize::MaxPool { convolved.map(|side| side.div_ceil(2)) } else { convolved }
    }

    /// How [`winograd`] cuts the images, if it computes the convolution.
    fn tiling(&self) -> Option<winograd::Tiling> {
        let Self { count, height, width, inputs, outputs, resize, how: How { method, around } } = *self;
        let scheme = match resize {
            Resize::Upsample(size) => winograd::Scheme::Upsample(size),
            _ if method == Method::Direct => return None,
            Resize::None | Resize::MaxPool => winograd::Scheme::Same,
        };
        let suits = winograd::suits(inputs, outputs, scheme);
        suits.then_some(winograd::Tiling { count, height, width, around, scheme })
    }

    fn input_len(&self) -> usize {
        let [above, below] = self.how.around;
        (above + self.height + below) * self.width * self.inputs
    }

    fn convolved_len(&self) -> usize {
        let [height, width] = self.convolved();
        height * width * self.outputs
    }

    fn output_len(&self) -> usize {
        let [height, width] = self.output();
        height * width * self.outputs
    }

    /// The passes over an image whose input has a border of one pixel. Outputs start at `origin` and have rows of
    /// `stride` pixels.
    fn passes(&self, origin: usize, stride: usize) -> Vec<Pass> {
        let inner = (self.width + 2) * self.inputs;
        let Resize::Upsample([height, width]) = self.resize else {
            let grid = Grid {
                rows: self.height,
                pixels: self.width,
                input: 0,
                input_row: inner,
                input_pixel: self.inputs,
                weight_row: inner,
                output: origin,
                output_row: stride * self.outputs,
                output_pixel: self.outputs,
            };
            return vec![Pass { rows: PLAIN, columns: PLAIN, grid }];
        };
        // For each kind: the first output, the first padded input that it reads, and the number of outputs.
        let kinds = |small: usize, large: usize| {
            let odd_size = large % 2;
            [(EVEN, 0, 0, small - odd_size), (ODD, 1, 1, small - odd_size), (LAST, large - 1, small - 1, odd_size)]
        };
        let mut passes = Vec::new();
        for (row_fold, row_out, row_in, rows) in kinds(self.height, height) {
            for (column_fold, column_out, column_in, pixels) in kinds(self.width, width) {
                let grid = Grid {
                    rows,
                    pixels,
                    input: row_in * inner + column_in * self.inputs,
                    input_row: inner,
                    input_pixel: self.inputs,
                    weight_row: inner,
                    output: origin + (row_out * stride + column_out) * self.outputs,
                    output_row: 2 * stride * self.outputs,
                    output_pixel: 2 * self.outputs,
                };
                if rows > 0 && pixels > 0 {
                    passes.push(Pass { rows: row_fold, columns: column_fold, grid });
                }
            }
        }
        passes
    }

    /// The passes that compute the gradient of the input from that of the output, which has a border of one pixel before and as
    /// many as needed after, with rows of `stride` pixels.
    fn back_passes(&self, stride: usize) -> Vec<Pass> {
        let inner = stride * self.outputs;
        let Resize::Upsample([height, width]) = self.resize else {
            let grid = Grid {
                rows: self.height,
                pixels: self.width,
                input: 0,
                input_row: inner,
                input_pixel: self.outputs,
                weight_row: inner,
                output: 0,
                output_row: self.width * self.inputs,
                output_pixel: self.inputs,
            };
            return vec![Pass { rows: FLIPPED, columns: FLIPPED, grid }];
        };
        let kinds = |small: usize, large: usize| {
            let odd_size = large % 2;
            [(BACK, 0, small - odd_size), (BACK_LAST, small - 1, odd_size)]
        };
        let mut passes = Vec::new();
        for (row_fold, first_row, rows) in kinds(self.height, height) {
            for (column_fold, first_column, pixels) in kinds(self.width, width) {
                let grid = Grid {
                    rows,
                    pixels,
                    input: 2 * first_row * inner + 2 * first_column * self.outputs,
                    input_row: 2 * inner,
                    input_pixel: 2 * self.outputs,
                    weight_row: inner,
                    output: (first_row * self.width + first_column) * self.inputs,
                    output_row: self.width * self.inputs,
                    output_pixel: self.inputs,
                };
                if rows > 0 && pixels > 0 {
                    passes.push(Pass { rows: row_fold, columns: column_fold, grid });
                }
            }
        }
        passes
    }
}

/// Copies an image `[h, w, c]` into the middle of one that is a pixel larger on every side, and rows around it to the sides.
fn embed(image: &[f32], sizes: &Sizes, to: &mut [f32]) {
    let len = sizes.width * sizes.inputs;
    let stride = len + 2 * sizes.inputs;
    let first = (1 - sizes.how.around[0]) * stride;
    for (line, to) in image.chunks_exact(len).zip(to[first + sizes.inputs..].chunks_mut(stride)) {
        to[..len].copy_from_slice(line);
    }
}

fn check(x: &[f32], weight: &[f32], sizes: &Sizes) {
    assert!(sizes.how.around.iter().all(|rows| *rows <= 1), "a convolution sees one row around its own");
    assert_eq!(x.len(), sizes.count * sizes.input_len(), "the input does not have its size");
    assert_eq!(weight.len(), sizes.outputs * sizes.inputs * 9, "the weights do not have their size");
}

/// The outputs `[n, h, w, outputs]`.
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32], relu: bool, sizes: &Sizes) -> Output {
    check(x, weight, sizes);
    if let Some(tiling) = sizes.tiling() {
        let pooled = sizes.resize == Resize::MaxPool;
        let end = winograd::End { bias, relu: relu && !pooled };
        let convolved = winograd::forward(x, weight, &end, tiling);
        return if pooled { max_pool(&convolved, relu, sizes) } else { Output { values: convolved, origin: None } };
    }
    let mut bias = bias.to_vec();
    bias.resize(padded(sizes.outputs), 0.0);
    let [height, width] = sizes.convolved();
    let taps = Taps::new(weight, [sizes.inputs, sizes.outputs], false);
    let passes = sizes.passes(0, width).into_iter().map(|pass| (taps.fold(pass.rows, pass.columns), pass.grid));
    let passes: Vec<(Weights, Grid)> = passes.collect();
    let pooled = sizes.resize == Resize::MaxPool;
    let mut input = Aligned::zeros((sizes.height + 2) * (sizes.width + 2) * sizes.inputs);
    let mut convolved = Aligned::zeros(if pooled { sizes.convolved_len() } else { 0 });
    let mut values = vec![0.0; sizes.count * sizes.output_len()];
    let mut origin = pooled.then(|| vec![0; values.len()]);
    for (index, image) in x.chunks_exact(sizes.input_len()).enumerate() {
        embed(image, sizes, &mut input);
        let part = index * sizes.output_len()..(index + 1) * sizes.output_len();
        let values = &mut values[part.clone()];
        for (weights, grid) in &passes {
            let output = if pooled { &mut convolved } else { &mut *values };
            let relu = relu && !pooled;
            vector::run(&mut Correlate { input: &input, weights, bias: &bias, relu, grid: *grid, output });
        }
        if let Some(origin) = &mut origin {
            let (size, origin) = ([height, width, sizes.outputs], &mut origin[part]);
            vector::run(&mut MaxPool { input: &convolved, size, relu, output: values, origin });
        }
    }
    Output { values, origin }
}

/// The gradient before pooling and ReLU, and that of the bias.
fn spread(output: Option<&[f32]>, origin: Option<&[u8]>, gradient: &[f32], sizes: &Sizes) -> (Vec<f32>, Vec<f32>) {
    let [height, width] = sizes.convolved();
    let mut spread = vec![0.0; sizes.count * sizes.convolved_len()];
    let mut bias = vec![0.0; sizes.outputs];
    for (index, to) in spread.chunks_exact_mut(sizes.convolved_len()).enumerate() {
        let part = index * sizes.output_len()..(index + 1) * sizes.output_len();
        vector::run(&mut Spread {
            gradient: &gradient[part.clone()],
            output: output.map(|output| &output[part.clone()]),
            origin: origin.map(|origin| &origin[part.clone()]),
            size: [height, width, sizes.outputs],
            to,
            place: (0, width * sizes.outputs),
            bias: &mut bias,
        });
    }
    (spread, bias)
}

/// The maxima of the outputs of a convolution of whole images.
fn max_pool(convolved: &[f32], relu: bool, sizes: &Sizes) -> Output {
    let [height, width] = sizes.convolved();
    let mut values = vec![0.0; sizes.count * sizes.output_len()];
    let mut origin = vec![0; values.len()];
    let images = values.chunks_exact_mut(sizes.output_len()).zip(origin.chunks_exact_mut(sizes.output_len()));
    for (input, (output, origin)) in convolved.chunks_exact(sizes.convolved_len()).zip(images) {
        vector::run(&mut MaxPool { input, size: [height, width, sizes.outputs], relu, output, origin });
    }
    Output { values, origin: Some(origin) }
}

/// The gradients, given that of the output; where there was a ReLU, `output` is its result, and where there was a pooling,
/// `origin` is that of [`forward`].
pub fn backward(
    x: &[f32],
    weight: &[f32],
    output: Option<&[f32]>,
    origin: Option<&[u8]>,
    gradient: &[f32],
    needs_input: bool,
    sizes: &Sizes,
) -> Gradients {
    check(x, weight, sizes);
    assert_eq!(sizes.how.around, [0, 0], "gradients are those of whole images");
    let (input_len, output_len) = (sizes.input_len(), sizes.output_len());
    assert_eq!(gradient.len(), sizes.count * output_len, "the gradient does not have the size of the output");
    if let Some(tiling) = sizes.tiling() {
        let (gradient, bias) = spread(output, origin, gradient, sizes);
        let input = needs_input.then(|| winograd::input_gradient(&gradient, weight, sizes.outputs, tiling));
        let weight = winograd::weight_gradient(x, &gradient, [sizes.inputs, sizes.outputs], tiling);
        return Gradients { input, weight, bias };
    }
    let [height, width] = sizes.convolved();
    // One pixel before; after, what the last row and column of the backward pass read, and room to read a whole vector.
    let (high, stride) = match sizes.resize {
        Resize::Upsample(_) => (2 * sizes.height + 2, 2 * sizes.width + 2),
        Resize::None | Resize::MaxPool => (sizes.height + 2, sizes.width + 2),
    };
    let first = (stride + 1) * sizes.outputs;
    let passes = sizes.passes(first, stride);
    let mut sums: Vec<Weights> = passes
        .iter()
        .map(|pass| Weights::zeros(pass.rows.len(), pass.columns.len() * sizes.inputs, sizes.outputs))
        .collect();
    let back: Vec<(Weights, Grid)> = if needs_input {
        let taps = Taps::new(weight, [sizes.inputs, sizes.outputs], true);
        let passes = sizes.back_passes(stride).into_iter();
        passes.map(|pass| (taps.fold(pass.rows, pass.columns), pass.grid)).collect()
    } else {
        Vec::new()
    };
    let no_bias = vec![0.0; padded(sizes.inputs)];
    let mut bias = vec![0.0; sizes.outputs];
    let mut input = Aligned::zeros((sizes.height + 2) * (sizes.width + 2) * sizes.inputs);
    let mut spread = Aligned::zeros(high * stride * sizes.outputs + NARROW_LANES);
    let mut to_input = needs_input.then(|| vec![0.0; x.len()]);
    for index in 0..sizes.count {
        let part = index * output_len..(index + 1) * output_len;
        vector::run(&mut Spread {
            gradient: &gradient[part.clone()],
            output: output.map(|output| &output[part.clone()]),
            origin: origin.map(|origin| &origin[part.clone()]),
            size: [height, width, sizes.outputs],
            to: &mut spread,
            place: (first, stride * sizes.outputs),
            bias: &mut bias,
        });
        let part = index * input_len..(index + 1) * input_len;
        embed(&x[part.clone()], sizes, &mut input);
        for (pass, weights) in passes.iter().zip(&mut sums) {
            vector::run(&mut Accumulate { input: &input, gradient: &spread, grid: pass.grid, weights });
        }
        if let Some(to_input) = &mut to_input {
            let output = &mut to_input[part];
            for (weights, grid) in &back {
                let (input, bias) = (&spread, &no_bias);
                vector::run(&mut Correlate { input, weights, bias, relu: false, grid: *grid, output });
            }
        }
    }
    let mut to_weight = Taps::zeros(sizes.inputs, sizes.outputs);
    for (pass, folded) in passes.iter().zip(&sums) {
        to_weight.unfold(folded, pass.rows, pass.columns);
    }
    Gradients { input: to_input, weight: to_weight.into_weight([sizes.inputs, sizes.outputs]), bias }
}
