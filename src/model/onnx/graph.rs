//! Builds an ONNX graph from the layers of limpid's models.
//!
//! Inputs and outputs are flat with channels last, or images with channels last where these may have any size; inside, channels come
//! first, as ONNX defines convolutions. Methods take the names of their input and of the layer's weights, and return the name of their
//! output. Sizes are constants of the graph, unless images may have any: then nodes compute them.

use super::proto::Message;
use crate::image::ImageShape;
use crate::model::settings::CodeActivation;

/// ONNX's codes for types of tensors.
pub const FLOAT: i64 = 1;
const INT64: i64 = 7;

/// A constant tensor.
pub fn initializer(name: &str, sizes: impl Iterator<Item = i64>, kind: i64, bytes: &[u8]) -> Message {
    Message::default()
        .each(sizes, |tensor, size| tensor.integer(1, size))
        .integer(2, kind)
        .text(8, name)
        .bytes(9, bytes)
}

/// The value of an attribute.
enum Attribute<'a> {
    Integer(i64),
    Integers(&'a [i64]),
    Text(&'a str),
}

/// A graph under construction.
#[derive(Default)]
pub struct Graph {
    /// The operations, in order.
    pub nodes: Vec<Message>,
    /// Constant tensors other than weights.
    pub constants: Vec<Message>,
    /// The names of the inputs of all operations.
    pub inputs: Vec<String>,
    /// Whether images may have any height and width.
    any_size: bool,
    /// What was pooled, and is not yet upsampled to its size again.
    pooled: Vec<String>,
}

impl Graph {
    /// An empty graph for images of one size, or of any.
    pub fn new(any_size: bool) -> Self {
        Self { any_size, ..Self::default() }
    }

    /// Adds an operation and returns the name of its result.
    fn node(&mut self, kind: &str, inputs: &[&str], output: &str, attributes: &[(&str, Attribute<'_>)]) -> String {
        self.inputs.extend(inputs.iter().map(|input| (*input).to_owned()));
        let node = Message::default()
            .each(inputs, |node, input| node.text(1, input))
            .text(2, output)
            .text(3, output)
            .text(4, kind)
            .each(attributes, |node, (name, value)| {
                let attribute = Message::default().text(1, name);
                node.message(
                    5,
                    match value {
                        Attribute::Integer(value) => attribute.integer(3, *value).integer(20, 2),
                        Attribute::Text(text) => attribute.text(4, text).integer(20, 3),
                        Attribute::Integers(values) => {
                            attribute.each(*values, |attribute, value| attribute.integer(8, *value)).integer(20, 7)
                        }
                    },
                )
            });
        self.nodes.push(node);
        output.to_owned()
    }

    /// Adds a constant list of integers.
    fn integers(&mut self, name: &str, values: &[i64]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constants.push(initializer(name, std::iter::once(values.len() as i64), INT64, &bytes));
    }

    /// The height and width of what has its channels first.
    fn sides(&mut self, x: &str, output: &str) -> String {
        self.node("Shape", &[x], output, &[("start", Attribute::Integer(2)), ("end", Attribute::Integer(4))])
    }

    /// From channels first to channels last, or the inverse.
    fn ordered(&mut self, x: &str, order: &[i64], output: &str) -> String {
        self.node("Transpose", &[x], output, &[("perm", Attribute::Integers(order))])
    }

    /// A dense layer, `[n, inputs]` to `[n, outputs]`.
    pub fn linear(&mut self, x: &str, layer: &str, output: &str) -> String {
        let (weight, bias) = (format!("{layer}.weight"), format!("{layer}.bias"));
        self.node("Gemm", &[x, &weight, &bias], output, &[("transB", Attribute::Integer(1))])
    }

    /// max(x, 0).
    pub fn relu(&mut self, x: &str, output: &str) -> String {
        self.node("Relu", &[x], output, &[])
    }

    /// 1 / (1 + exp(-x)).
    pub fn sigmoid(&mut self, x: &str, output: &str) -> String {
        self.node("Sigmoid", &[x], output, &[])
    }

    /// min(max(x, 0), 1).
    pub fn clip_to_unit(&mut self, x: &str, output: &str) -> String {
        let bounds = [("least", 0.0_f32), ("most", 1.0)].map(|(name, bound)| {
            let name = format!("{output}.{name}");
            self.constants.push(initializer(&name, std::iter::empty(), FLOAT, &bound.to_le_bytes()));
            name
        });
        self.node("Clip", &[x, &bounds[0], &bounds[1]], output, &[])
    }

    /// The sum of two tensors of one shape.
    pub fn add(&mut self, x: &str, y: &str, output: &str) -> String {
        self.node("Add", &[x, y], output, &[])
    }

    /// The activation after the layer that makes the code, under the name `code`.
    pub fn code(&mut self, x: &str, activation: CodeActivation) {
        match activation {
            CodeActivation::Relu => self.relu(x, "code"),
            CodeActivation::Linear => self.node("Identity", &[x], "code", &[]),
        };
    }

    /// A 3×3 convolution with zero padding, channels first.
    pub fn convolution(&mut self, x: &str, layer: &str) -> String {
        let (weight, bias) = (format!("{layer}.weight"), format!("{layer}.bias"));
        let attributes = [("kernel_shape", Attribute::Integers(&[3, 3])), ("pads", Attribute::Integers(&[1, 1, 1, 1]))];
        self.node("Conv", &[x, &weight, &bias], &format!("{layer}.convolved"), &attributes)
    }

    /// A convolution with a ReLU, and a 2×2 max-pooling.
    pub fn convolution_max_pool(&mut self, x: &str, layer: &str) -> String {
        self.pooled.push(x.to_owned());
        let y = self.convolution(x, layer);
        let y = self.relu(&y, &format!("{layer}.relu"));
        let two = || Attribute::Integers(&[2, 2]);
        let attributes = [("kernel_shape", two()), ("strides", two()), ("ceil_mode", Attribute::Integer(1))];
        self.node("MaxPool", &[&y], &format!("{layer}.pool"), &attributes)
    }

    /// Nearest upsampling to `[height, width]`, or to the size of what was pooled last, and a convolution with a ReLU.
    pub fn upsample_convolution(&mut self, x: &str, [height, width]: [usize; 2], layer: &str) -> String {
        let size = format!("{layer}.size");
        match self.pooled.pop().filter(|_| self.any_size) {
            Some(pooled) => _ = self.sides(&pooled, &size),
            None => self.integers(&size, &[height as i64, width as i64]),
        }
        let attributes = [
            ("axes", Attribute::Integers(&[2, 3])),
            ("mode", Attribute::Text("nearest")),
            ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        let y = self.node("Resize", &[x, "", "", &size], &format!("{layer}.resized"), &attributes);
        let y = self.convolution(&y, layer);
        self.relu(&y, &format!("{layer}.relu"))
    }

    /// `count` residual blocks in sequence.
    pub fn residual_blocks(&mut self, x: &str, blocks: &str, count: usize) -> String {
        (0..count).fold(x.to_owned(), |x, block| {
            let (first, second) = (format!("{blocks}.{block}.first"), format!("{blocks}.{block}.second"));
            let y = self.convolution(&x, &first);
            let y = self.relu(&y, &format!("{first}.relu"));
            let y = self.convolution(&y, &second);
            self.add(&x, &y, &format!("{blocks}.{block}.sum"))
        })
    }

    /// From images with channels last to channels first.
    pub fn unflatten(&mut self, x: &str, shape: ImageShape, name: &str) -> String {
        if self.any_size {
            return self.ordered(x, &[0, 3, 1, 2], &format!("{name}.first"));
        }
        let sides = [-1, shape.height as i64, shape.width as i64, shape.channels as i64];
        self.integers(&format!("{name}.sides"), &sides);
        let image = self.node("Reshape", &[x, &format!("{name}.sides")], &format!("{name}.last"), &[]);
        self.ordered(&image, &[0, 3, 1, 2], &format!("{name}.first"))
    }

    /// From images with channels last to channels first, with each 2×2 pixels as one; a side of odd length is continued by its last pixel.
    pub fn unshuffle(&mut self, x: &str, shape: ImageShape, name: &str) -> String {
        let [height, width, channels] = [shape.height, shape.width, shape.channels].map(|size| size as i64);
        let [high, wide] = [height, width].map(|side| (side + 1) / 2);
        let mut image = self.unflatten(x, shape, name);
        let (pads, mode) = (format!("{name}.pads"), [("mode", Attribute::Text("edge"))]);
        if self.any_size {
            let [two, none, odd] = ["two", "none", "odd"].map(|part| format!("{name}.{part}"));
            self.integers(&two, &[2, 2]);
            self.integers(&none, &[0; 6]);
            let size = self.sides(&image, &format!("{name}.size"));
            let odd = self.node("Mod", &[&size, &two], &odd, &[]);
            self.node("Concat", &[&none, &odd], &pads, &[("axis", Attribute::Integer(0))]);
            let image = self.node("Pad", &[&image, &pads], &format!("{name}.even"), &mode);
            return self.squares(&image, name);
        }
        if (2 * high, 2 * wide) != (height, width) {
            self.integers(&pads, &[0, 0, 0, 0, 0, 0, 2 * high - height, 2 * wide - width]);
            image = self.node("Pad", &[&image, &pads], &format!("{name}.even"), &mode);
        }
        self.integers(&format!("{name}.squares"), &[-1, channels, high, 2, wide, 2]);
        let image = self.node("Reshape", &[&image, &format!("{name}.squares")], &format!("{name}.squared"), &[]);
        let image = self.ordered(&image, &[0, 3, 5, 1, 2, 4], &format!("{name}.apart"));
        self.integers(&format!("{name}.inside"), &[-1, 4 * channels, high, wide]);
        self.node("Reshape", &[&image, &format!("{name}.inside")], &format!("{name}.unshuffled"), &[])
    }

    /// Each 2×2 pixels as one, of images of any even sides, by slices: `SpaceToDepth` is the same, and not known to all programs.
    fn squares(&mut self, x: &str, name: &str) -> String {
        let [ends, axes, steps] = ["ends", "axes", "steps"].map(|part| format!("{name}.{part}"));
        self.integers(&ends, &[i64::MAX; 2]);
        self.integers(&axes, &[2, 3]);
        self.integers(&steps, &[2, 2]);
        let slices = [[0, 0], [0, 1], [1, 0], [1, 1]].map(|[row, column]| {
            let (starts, slice) = (format!("{name}.{row}{column}.starts"), format!("{name}.{row}{column}"));
            self.integers(&starts, &[row, column]);
            self.node("Slice", &[x, &starts, &ends, &axes, &steps], &slice, &[])
        });
        let axis = [("axis", Attribute::Integer(1))];
        self.node("Concat", &slices.each_ref().map(String::as_str), &format!("{name}.unshuffled"), &axis)
    }

    /// The inverse, to images with channels last; those that [`Self::unshuffle`] took are called `images`.
    pub fn shuffle(&mut self, x: &str, shape: ImageShape, [images, name]: [&str; 2], output: &str) -> String {
        let [height, width, channels] = [shape.height, shape.width, shape.channels].map(|size| size as i64);
        let [high, wide] = [height, width].map(|side| (side + 1) / 2);
        let [starts, mut ends, axes] = ["starts", "ends", "axes"].map(|part| format!("{name}.{part}"));
        let image = if self.any_size {
            ends = format!("{images}.size");
            let attributes = [("blocksize", Attribute::Integer(2)), ("mode", Attribute::Text("DCR"))];
            self.node("DepthToSpace", &[x], &format!("{name}.shuffled"), &attributes)
        } else {
            self.integers(&format!("{name}.squares"), &[-1, 2, 2, channels, high, wide]);
            let image = self.node("Reshape", &[x, &format!("{name}.squares")], &format!("{name}.apart"), &[]);
            let image = self.ordered(&image, &[0, 3, 4, 1, 5, 2], &format!("{name}.squared"));
            self.integers(&format!("{name}.even"), &[-1, channels, 2 * high, 2 * wide]);
            self.node("Reshape", &[&image, &format!("{name}.even")], &format!("{name}.shuffled"), &[])
        };
        self.integers(&starts, &[0, 0]);
        if !self.any_size {
            self.integers(&ends, &[height, width]);
        }
        self.integers(&axes, &[2, 3]);
        let image = self.node("Slice", &[&image, &starts, &ends, &axes], &format!("{name}.sliced"), &[]);
        self.flatten(&image, shape.len(), name, output)
    }

    /// From channels first to images with channels last.
    pub fn flatten(&mut self, x: &str, len: usize, name: &str, output: &str) -> String {
        if self.any_size {
            return self.ordered(x, &[0, 2, 3, 1], output);
        }
        self.integers(&format!("{name}.len"), &[-1, len as i64]);
        let image = self.ordered(x, &[0, 2, 3, 1], &format!("{name}.flat.last"));
        self.node("Reshape", &[&image, &format!("{name}.len")], output, &[])
    }
}
