//! Exported ONNX models, run by a program that is not limpid, give the codes and images in limpid's own tables.
//!
//! That program is rten. tract, which runs the files as well, takes six times as long to build and wants other features of the
//! crates below Burn and Arrow than limpid does, so that Cargo would build these once for tests and again for the rest. What rten
//! does not know is the `axes` of a `Resize`: [`with_all_sizes`] spells them out, and leaves all else as it was exported.
//! `scripts/check_models.py` has ONNX Runtime run the files themselves.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt8Type};
use rten::{Model, Value};

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::own_arrays::npy;
use crate::own_images::TEST;

/// Images in [0, 1].
const IMAGE_TOLERANCE: f32 = 1e-5;
/// Of the greatest magnitude in any code.
const CODE_TOLERANCE: f32 = 1e-4;

const STROKES: &str = "strokes = { train = 60, test = 12 }";
const COLOURED_STROKES: &str = "strokes = { train = 60, test = 12, colour = true }";
/// Images whose sides are odd, odd again when halved and rounded up, and differ, so that exchanged sides show too.
const ODD: &str = "npy = { train = \"train.npy\", test = \"test.npy\" }";
const ODD_SIDES: [usize; 3] = [13, 9, 3];

/// A run of a model to the end of `denoise`.
fn finished(source: &str, model: &str) -> Sandbox {
    finished_with(source, model, "")
}

/// The same with further settings of the training, and further sections.
fn finished_with(source: &str, model: &str, more: &str) -> Sandbox {
    let sandbox = Sandbox::with(&format!(
        "name = \"small\"\n[source]\n{source}\n[model]\n{model}\n[output]\npixels = \"f32\"\n[training]\nepochs = 1\n\
         batch-size = 10\nlearning-rate = 1e-2\n{more}"
    ));
    if source == ODD {
        let [rows, columns, channels] = ODD_SIDES;
        for (name, count) in [("train.npy", 60), ("test.npy", 12)] {
            let pixels: Vec<u8> = (0..count * rows * columns * channels).map(|at| (at * at % 251) as u8).collect();
            sandbox.write(name, &npy("|u1", &format!("({count}, {rows}, {columns}, {channels})"), &pixels));
        }
    }
    sandbox.limpid("run small.toml --to denoise").succeeds();
    sandbox
}

/// Rows of numbers, one after the other.
struct Rows {
    count: usize,
    numbers: Vec<f32>,
}

impl Rows {
    /// A column of a table; bytes are pixels, which models see in [0, 1].
    fn of(sandbox: &Sandbox, table: &str, column: &str) -> Self {
        let (batch, _) = read(sandbox, table);
        let values = batch.column_by_name(column).expect("is there").as_fixed_size_list().values().clone();
        let numbers = match values.as_primitive_opt::<UInt8Type>() {
            Some(bytes) => bytes.values().iter().map(|byte| f32::from(*byte) / 255.0).collect(),
            None => values.as_primitive::<Float32Type>().values().to_vec(),
        };
        Self { count: batch.num_rows(), numbers }
    }

    /// What a stage has made of the test images.
    fn made_by(sandbox: &Sandbox, stage: &str, column: &str) -> Self {
        let rows = Self::of(sandbox, &format!("runs/small/{stage}/test-00000-of-00001.parquet"), column);
        // Or else any model would agree, as one whose ReLUs let nothing through.
        assert!(rows.numbers.iter().any(|number| *number != rows.numbers[0]), "{stage} has made nothing to compare");
        rows
    }

    fn greatest_magnitude(&self) -> f32 {
        self.numbers.iter().fold(0.0, |greatest, number| greatest.max(number.abs()))
    }

    fn expect(&self, expected: &Self, tolerance: f32, what: &str) {
        assert_eq!((self.count, self.numbers.len()), (expected.count, expected.numbers.len()), "{what}");
        let differences = self.numbers.iter().zip(&expected.numbers).map(|(one, other)| (one - other).abs());
        // In an order that puts what is no number last, and so finds it.
        let greatest = differences.max_by(f32::total_cmp).expect("there are some");
        assert!(greatest <= tolerance, "{what} differs by {greatest}, of which {tolerance} is allowed");
    }
}

/// Exports a part of the model and runs it.
fn run(sandbox: &Sandbox, part: &str, (input, rows): (&str, &Rows), outputs: &[&str]) -> Vec<Rows> {
    sandbox.limpid(&format!("export runs/small --onnx {part}.onnx --part {part}")).succeeds();
    let model = Model::load(with_all_sizes(&sandbox.read(&format!("{part}.onnx")))).expect("loads");
    let node = |name: &&str| model.node_id(name).expect("is there");
    let value = Value::from_shape(&[rows.count, rows.numbers.len() / rows.count], rows.numbers.clone()).expect("fits");
    let nodes: Vec<_> = outputs.iter().map(node).collect();
    let made = model.run(vec![(node(&input), value.into())], &nodes, None).expect("runs");
    let flat = |value: Value| value.into_shape_vec::<f32, 2>().expect("is flat");
    made.into_iter().map(flat).map(|([count, _], numbers)| Rows { count, numbers }).collect()
}

/// Runs a pipeline, exports its model whole and in halves, and compares what they make of the test images with the tables.
fn agrees(source: &str, model: &str) {
    let sandbox = finished(source, model);
    let images = Rows::of(&sandbox, TEST, "image");
    let code = Rows::made_by(&sandbox, "encode", "code");
    let image = Rows::made_by(&sandbox, "denoise", "image");
    let code_tolerance = CODE_TOLERANCE * code.greatest_magnitude();

    let whole = run(&sandbox, "whole", ("images", &images), &["code", "image"]);
    whole[0].expect(&code, code_tolerance, "the whole model's code");
    whole[1].expect(&image, IMAGE_TOLERANCE, "the whole model's image");
    let encoded = run(&sandbox, "encoder", ("images", &images), &["code"]);
    encoded[0].expect(&code, code_tolerance, "the encoder's code");
    let decoded = run(&sandbox, "decoder", ("code", &code), &["image"]);
    decoded[0].expect(&image, IMAGE_TOLERANCE, "the decoder's image");
}

#[test]
fn a_dense_model_with_hidden_layers_and_a_code_that_is_not_negative() {
    agrees(STROKES, "dense = { hidden = [24, 16], code = 8, code-activation = \"relu\" }");
}

#[test]
fn a_dense_model_of_colours_with_a_linear_code() {
    agrees(COLOURED_STROKES, "dense = { code = 8, code-activation = \"linear\" }");
}

#[test]
fn a_convolutional_model_whose_code_is_the_last_map_and_whose_pooling_rounds_up() {
    agrees(ODD, "conv = { channels = [6, 5, 4] }");
}

#[test]
fn a_convolutional_model_with_residual_blocks_and_a_linear_code() {
    agrees(STROKES, "conv = { channels = [6, 4], residual-blocks = 2, code = 10, code-activation = \"linear\" }");
}

#[test]
fn a_convolutional_model_of_colours_with_another_decoder_and_a_code_that_is_not_negative() {
    agrees(ODD, "conv = { channels = [4, 6], decoder-channels = [5, 3], code = 9, code-activation = \"relu\" }");
}

#[test]
fn a_unet_which_is_whole_or_nothing() {
    for (source, settings) in [(STROKES, "residual-blocks = 1"), (ODD, ""), (ODD, "unshuffle = true")] {
        let model = format!("unet.channels = [3, 4, 5]\nunet.{settings}").trim_end_matches("unet.").to_owned();
        let sandbox = finished(source, &model);
        let image = Rows::made_by(&sandbox, "denoise", "image");
        let made = run(&sandbox, "whole", ("images", &Rows::of(&sandbox, TEST, "image")), &["image"]);
        made[0].expect(&image, IMAGE_TOLERANCE, "the image");
        for part in ["encoder", "decoder"] {
            let export = format!("export runs/small --onnx half.onnx --part {part}");
            sandbox.limpid(&export).exits(2).says("a U-Net has no code");
        }
        assert!(!sandbox.path("half.onnx").exists());
    }
}

#[test]
fn models_that_predict_noise() {
    for model in ["unet = { channels = [3, 4] }", "conv = { channels = [6, 4] }"] {
        let model = format!("{model}\nloss = \"mse\"\npredict = \"noise\"");
        let sandbox = finished_with(ODD, &model, "input = \"noisy\"\n[corruption]\ngaussian = { std = 0.3 }\n");
        let noisy = Rows::of(&sandbox, "runs/small/corrupt/test-00000-of-00001.parquet", "image");
        let image = Rows::made_by(&sandbox, "denoise", "image");
        // Some of the sums are clipped.
        assert!(image.numbers.contains(&0.0) && image.numbers.contains(&1.0), "{model}");
        let made = run(&sandbox, "whole", ("images", &noisy), &["image"]);
        made[0].expect(&image, IMAGE_TOLERANCE, "the image");
        if model.starts_with("conv") {
            run(&sandbox, "encoder", ("images", &noisy), &["code"]);
            let decoder = "export runs/small --onnx half.onnx --part decoder";
            sandbox.limpid(decoder).exits(2).says("a model that predicts noise has no decoder");
        }
    }
}

/// Runs a model for images of any size on images of these sides.
fn run_any(model: &Model, [rows, columns, channels]: [usize; 3], images: &Rows, outputs: &[&str]) -> Vec<Rows> {
    let node = |name: &&str| model.node_id(name).expect("is there");
    let value = Value::from_shape(&[images.count, rows, columns, channels], images.numbers.clone()).expect("fits");
    let nodes: Vec<_> = outputs.iter().map(node).collect();
    let made = model.run(vec![(node(&"images"), value.into())], &nodes, None).expect("runs");
    let flat = |value: Value| value.into_shape_vec::<f32, 4>().expect("is an image or a map");
    made.into_iter().map(flat).map(|([count, ..], numbers)| Rows { count, numbers }).collect()
}

#[test]
fn models_of_patches_take_images_of_any_size() {
    const OTHER: [usize; 3] = [22, 17, 3];
    for (model, predict) in [
        ("unet = { channels = [3, 4, 5] }", ""),
        ("unet = { channels = [3, 4], unshuffle = true }", "loss = \"mse\"\npredict = \"noise\""),
        ("conv = { channels = [6, 4], residual-blocks = 1 }", ""),
    ] {
        let noisy =
            "patch = 8\ninput = \"noisy\"\n[corruption]\ngaussian = { std = 0.3 }\n[encode]\ninput = \"noisy\"\n";
        let sandbox = finished_with(ODD, &format!("{model}\n{predict}"), noisy);
        sandbox.limpid("export runs/small --onnx any.onnx").succeeds();
        let any = Model::load(with_all_sizes(&sandbox.read("any.onnx"))).expect("loads");
        let noisy = Rows::of(&sandbox, "runs/small/corrupt/test-00000-of-00001.parquet", "image");
        let image = Rows::made_by(&sandbox, "denoise", "image");
        let has_code = model.starts_with("conv");
        let made = run_any(&any, ODD_SIDES, &noisy, if has_code { &["image", "code"] } else { &["image"] });
        made[0].expect(&image, IMAGE_TOLERANCE, model);
        // One file for any size, odd and even.
        let [rows, columns, channels] = OTHER;
        let numbers: Vec<f32> = (0..2 * rows * columns * channels).map(|at| (at * at % 253) as f32 / 252.0).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        sandbox.write("other.npy", &npy("<f4", &format!("(2, {rows}, {columns}, {channels})"), &bytes));
        sandbox.limpid("denoise runs/small other.npy -o out").succeeds();
        let others = Rows { count: 2, numbers };
        let expected = Rows::of(&sandbox, "out/other.parquet", "image");
        run_any(&any, OTHER, &others, &["image"])[0].expect(&expected, IMAGE_TOLERANCE, model);
        if has_code {
            let code = Rows::made_by(&sandbox, "encode", "code");
            made[1].expect(&code, CODE_TOLERANCE * code.greatest_magnitude(), "the code");
            sandbox.limpid("export runs/small --onnx half.onnx --part encoder").succeeds();
            let half = Model::load(with_all_sizes(&sandbox.read("half.onnx"))).expect("loads");
            let code_of_half = run_any(&half, ODD_SIDES, &noisy, &["code"]);
            code_of_half[0].expect(&code, CODE_TOLERANCE * code.greatest_magnitude(), "the encoder's code");
            let decoder = "export runs/small --onnx other.onnx --part decoder";
            sandbox.limpid(decoder).exits(2).says("for images of any size, has no decoder in ONNX");
        }
    }
}

/// A field of a message in Protocol Buffers: its number, itself whole, and what it holds.
type Field<'a> = (u64, &'a [u8], &'a [u8]);

/// The fields of a message.
fn fields(mut message: &[u8]) -> Vec<Field<'_>> {
    let varint = |bytes: &[u8]| {
        let length = 1 + bytes.iter().position(|byte| byte & 0x80 == 0).expect("ends");
        let number = bytes[..length].iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f));
        (number, length)
    };
    let mut fields = Vec::new();
    while !message.is_empty() {
        let (key, start) = varint(message);
        let (number, length) = varint(&message[start..]);
        let content = match key & 7 {
            0 => start..start + length,
            2 => start + length..start + length + number as usize,
            kind => panic!("a field of kind {kind}"),
        };
        let (whole, rest) = message.split_at(content.end);
        fields.push((key >> 3, whole, &whole[content.start..]));
        message = rest;
    }
    fields
}

/// A field with so many bytes in it.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    [&field, content].concat()
}

/// A graph's field for a node with one small integer as its attribute.
fn node(kind: &str, inputs: &[&[u8]], output: &[u8], (name, value): (&str, u8)) -> Vec<u8> {
    let attribute = [&field(1, name.as_bytes())[..], &[3 << 3, value, 20 << 3 | 0x80, 1, 2]].concat();
    let inputs: Vec<u8> = inputs.iter().flat_map(|input| field(1, input)).collect();
    field(1, &[inputs, field(2, output), field(4, kind.as_bytes()), field(5, &attribute)].concat())
}

/// The same model whose every `Resize` is told the sizes of all axes, with those that it leaves out taken from its input.
fn with_all_sizes(model: &[u8]) -> Vec<u8> {
    let nodes = |graph: &[u8]| -> Vec<u8> {
        let resizes = |node: &[u8]| fields(node).iter().any(|(number, _, held)| (*number, *held) == (4, b"Resize"));
        let rewritten = fields(graph).into_iter().map(|(number, whole, held)| match number {
            1 if resizes(held) => resize_with_all_sizes(held),
            _ => whole.to_vec(),
        });
        rewritten.collect::<Vec<_>>().concat()
    };
    let rewritten = fields(model).into_iter().map(|(number, whole, held)| match number {
        7 => field(7, &nodes(held)),
        _ => whole.to_vec(),
    });
    rewritten.collect::<Vec<_>>().concat()
}

/// A graph's fields for this `Resize` and for the two nodes that make its sizes.
fn resize_with_all_sizes(message: &[u8]) -> Vec<u8> {
    let inputs: Vec<_> = fields(message).into_iter().filter(|(number, ..)| *number == 1).collect();
    let (x, sizes) = (inputs[0].2, inputs[3].2);
    let (others, all) = ([sizes, b".others"].concat(), [sizes, b".all"].concat());
    let is_axes = |attribute: &[u8]| fields(attribute).iter().any(|(number, _, held)| (*number, *held) == (1, b"axes"));
    let mut resize = Vec::new();
    for (number, whole, held) in fields(message) {
        match number {
            1 if held == sizes => resize.extend(field(1, &all)),
            5 if is_axes(held) => {
                let axes = fields(held).into_iter().filter(|(number, ..)| *number == 8).map(|(.., axis)| axis);
                assert_eq!(axes.collect::<Vec<_>>(), [[2], [3]], "others than the first two are left out");
            }
            _ => resize.extend(whole),
        }
    }
    let others_and_all =
        [node("Shape", &[x], &others, ("end", 2)), node("Concat", &[&others, sizes], &all, ("axis", 0))];
    [others_and_all.concat(), field(1, &resize)].concat()
}
