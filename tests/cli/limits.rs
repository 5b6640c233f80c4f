//! The table of limits of docs/limits.md: each is tried at its size, where that is cheap, and one past it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Int32Array, ListArray, RecordBatch, StringArray, UInt8Array};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field};
use image::{GrayImage, ImageFormat};
use parquet::basic::Compression;

use crate::foreign::write;
use crate::harness::{Done, Sandbox};
use crate::own_arrays::npy;
use crate::own_images::{encoded, png, sandbox as of};

const TEXT: &str = include_str!("../../docs/limits.md");

/// The first two cells of a row, and what tries its limit.
type Limit = (&'static str, u64, fn(u64));

const TRIED: [Limit; 16] = [
    ("rows, and columns, of a picture of a source", 32_768, sides),
    ("numbers of a picture: rows × columns × channels", 67_108_864, numbers),
    ("numbers of an image of arrays", 1_048_576, array_numbers),
    ("images of arrays", 4_294_967_295, array_images),
    ("rows, and columns, of a PNG or TIFF that `denoise` reads and writes as a picture", 1_048_576, denoised_sides),
    ("folders one in another", 64, folders),
    ("files that the pattern of a tar source means", 100_000, patterns),
    ("bytes of a pipeline file", 1_048_576, pipelines),
    ("names of classes", 65_536, classes),
    ("labels of an image", 65_536, labels),
    ("numbers of a code, and units of a hidden layer", 65_536, codes),
    ("channels of a layer", 4_096, channels),
    ("hidden layers", 64, layers),
    ("weights of a layer", 268_435_456, weights),
    ("classes whose classifiers `evaluate` trains", 100, classified),
    ("numbers of an image whose covariances `evaluate` computes", 4_096, covariances),
];

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
    groups.join(",")
}

#[test]
fn the_table_has_each_limit_that_is_tried_and_no_other() {
    let rows = TEXT.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows: BTreeMap<_, _> = rows.map(|(what, rest)| (what, rest.split(" | ").next().unwrap_or_default())).collect();
    for (what, most, _) in TRIED {
        assert_eq!(rows.get(what), Some(&grouped(most).as_str()), "{what}");
    }
    let table = TEXT.split_once("## Sizes and counts").expect("has it").1;
    let table = table.split("\n## ").next().unwrap_or_default();
    assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), 1 + TRIED.len());
}

#[test]
fn what_is_as_large_as_it_may_be_works_and_one_more_is_refused() {
    TRIED.iter().for_each(|(_, most, test)| test(*most));
}

/// A sandbox with four pictures of 8×8 pixels in a folder.
fn pictures() -> Sandbox {
    let sandbox = of("folder = { path = \"photos\", labels = \"none\", test-fraction = 0.5 }");
    (0..4).for_each(|index| _ = sandbox.write(&format!("photos/{index}.png"), &png(8, 8, index)));
    sandbox
}

fn ingest(sandbox: &Sandbox, words: &str, code: i32) -> Done {
    sandbox.limpid(&format!("run small.toml --force --to ingest {words}")).exits(code)
}

fn black(columns: u64, rows: u64) -> Vec<u8> {
    encoded(&GrayImage::new(columns as u32, rows as u32).into(), ImageFormat::Png)
}

fn sides(most: u64) {
    let sandbox = Sandbox::new();
    sandbox.write("wide.png", &black(most, 1));
    sandbox.limpid("inspect wide.png").succeeds();
    for (columns, rows) in [(most + 1, 1), (1, most + 1)] {
        sandbox.write("wide.png", &black(columns, rows));
        let says = format!("it has {rows}×{columns} pixels; at most {most} rows and columns work");
        sandbox.limpid("inspect wide.png").exits(65).says(&says);
    }
}

fn numbers(most: u64) {
    let sandbox = Sandbox::new();
    sandbox.write("large.png", &black(8192, most / 8192));
    sandbox.limpid("inspect large.png").succeeds();
    sandbox.write("large.png", &black(8192, most / 8192 + 1));
    sandbox.limpid("inspect large.png").exits(65).says(&format!("at most {most} numbers work"));
}

/// A sandbox whose source are arrays of two images for training and one for testing.
fn arrays(rows: u64, columns: u64) -> Sandbox {
    let sandbox = of("npy = { train = \"train.npy\", test = \"test.npy\" }");
    for (name, images) in [("train.npy", 2), ("test.npy", 1)] {
        let pixels = vec![7; (images * rows * columns) as usize];
        sandbox.write(name, &npy("|u1", &format!("({images}, {rows}, {columns})"), &pixels));
    }
    sandbox
}

fn array_numbers(most: u64) {
    ingest(&arrays(1024, most / 1024), "", 0);
    ingest(&arrays(1024, most / 1024 + 1), "", 65).says(&format!("1 to {most} numbers each work"));
}

fn array_images(most: u64) {
    let sandbox = arrays(2, 2);
    for (images, says) in [(most, "train.npy is truncated".to_owned()), (most + 1, format!("at most {most} work"))] {
        sandbox.write("train.npy", &npy("|u1", &format!("({images}, 2, 2)"), &[0; 64]));
        ingest(&sandbox, "", 65).says(&says);
    }
}

fn denoised_sides(most: u64) {
    let sandbox = of("scenes = { train = 4, test = 1, size = [16, 16] }");
    let model =
        "--set model={unet={channels=[2]}} --set training.input=\"noisy\" --set corruption={gaussian={std=0.1}}";
    sandbox.limpid(&format!("run small.toml --to train {model}")).succeeds();
    for (columns, code, says) in [(most, 0, ""), (most + 1, 65, "it has a side of 1048577 pixels; 1 to 1048576 work")] {
        sandbox.write("page.png", &black(columns, 1));
        sandbox.limpid("denoise runs/small page.png -o clean.png").exits(code).says(says);
    }
}

fn folders(most: u64) {
    let sandbox = pictures();
    // `photos` is the first.
    let deep = |count: u64| format!("photos/{}x.png", "d/".repeat(count as usize));
    sandbox.write(&deep(most), &png(8, 8, 9));
    ingest(&sandbox, "", 0);
    sandbox.write(&deep(most + 1), &png(8, 8, 10));
    ingest(&sandbox, "", 65).says(&format!("is more than {most} folders deep"));
}

fn patterns(most: u64) {
    let sandbox = of("tar = { train = \"x-{00000..99999}.tar\", test = \"test.tar\" }");
    assert_eq!(most, 100_000);
    ingest(&sandbox, "", 65).says("x-00000.tar does not exist");
    ingest(&sandbox, "--set source.tar.train=x-{0..9}{00000..10000}.tar", 2).says("means more than 100000 files");
}

fn pipelines(most: u64) {
    let sandbox = Sandbox::new();
    let mut text = sandbox.read("small.toml");
    text.resize(most as usize, b'#');
    sandbox.write("long.toml", &text);
    sandbox.limpid("plan long.toml").succeeds();
    text.push(b'#');
    sandbox.write("long.toml", &text);
    sandbox.limpid("plan long.toml").exits(2).says("it is larger than 1 MiB");
}

/// Images of four pixels, and another column.
fn table(sandbox: &Sandbox, name: &str, column: &str, values: ArrayRef) {
    let item = Arc::new(Field::new_list_field(DataType::UInt8, false));
    let pixels: Vec<_> = (0..4 * values.len()).map(|at| (at * 77 % 251) as u8).collect();
    let images: ArrayRef = Arc::new(FixedSizeListArray::new(item, 4, Arc::new(UInt8Array::from(pixels)), None));
    let batch = RecordBatch::try_from_iter([("image", images), (column, values)]).expect("fits");
    write(sandbox, name, &[batch], Compression::UNCOMPRESSED);
}

const TABLES: &str = "parquet = { train = \"train.parquet\", test = \"test.parquet\", shape = [2, 2] }";

fn classes(most: u64) {
    let sandbox = of(TABLES);
    let named =
        |count: u64| -> ArrayRef { Arc::new(StringArray::from_iter_values((0..count).map(|at| at.to_string()))) };
    table(&sandbox, "train.parquet", "label", named(most));
    table(&sandbox, "test.parquet", "label", named(2));
    ingest(&sandbox, "", 0);
    table(&sandbox, "train.parquet", "label", named(most + 1));
    ingest(&sandbox, "", 65).says(&format!("more than {most} different texts"));
}

fn labels(most: u64) {
    let sandbox = of(TABLES);
    let listed = |count: u64| -> ArrayRef {
        let numbers = Int32Array::from_iter_values(0..count as i32 + 2);
        let item = Arc::new(Field::new_list_field(DataType::Int32, false));
        let offsets = OffsetBuffer::from_lengths([count as usize, 1, 1]);
        Arc::new(ListArray::new(item, offsets, Arc::new(numbers), None))
    };
    table(&sandbox, "train.parquet", "label", listed(most));
    table(&sandbox, "test.parquet", "label", listed(2));
    ingest(&sandbox, "", 0);
    table(&sandbox, "train.parquet", "label", listed(most + 1));
    ingest(&sandbox, "", 65).says(&format!("it has {} labels; at most {most} work", most + 1));
}

/// Whether a model can be planned.
fn model(of: &str, code: i32) -> Done {
    Sandbox::new().limpid(&format!("plan small.toml --set model={of}")).exits(code)
}

fn codes(most: u64) {
    let of = |code: u64, hidden: u64| format!("{{dense={{code={code},hidden=[{hidden}]}}}}");
    model(&of(most, 1), 0);
    model(&of(1, most), 0);
    for (code, hidden) in [(most + 1, 1), (1, most + 1)] {
        let says = format!("must lie between 1 and {most}, found {}", most + 1);
        model(&of(code, hidden), 2).says(&says);
    }
}

fn channels(most: u64) {
    for family in ["conv", "unet"] {
        let of = |channels: u64| format!("{{{family}={{channels=[{channels}]}}}}");
        model(&of(most), 0);
        model(&of(most + 1), 2).says(&format!("must lie between 1 and {most}"));
    }
}

fn layers(most: u64) {
    let of = |count: u64| format!("{{dense={{code=4,hidden=[{}]}}}}", vec!["4"; count as usize].join(","));
    model(&of(most), 0);
    model(&of(most + 1), 2).says(&format!("has {} entries; at most {most} work", most + 1));
}

fn weights(most: u64) {
    let sandbox = arrays(1024, 1024);
    let of = |hidden: u64| format!("--set model={{dense={{code=1,hidden=[{hidden}]}}}}");
    ingest(&sandbox, &of(most >> 20), 0);
    ingest(&sandbox, &of((most >> 20) + 1), 2).says(&format!("at most {most} work"));
}

fn classified(most: u64) {
    let scores = |classes: u64| {
        let sandbox = of(TABLES);
        let rows = |count: u64| -> ArrayRef { Arc::new(Int32Array::from_iter_values((0..count).map(|at| at as i32))) };
        table(&sandbox, "train.parquet", "label", rows(classes));
        table(&sandbox, "test.parquet", "label", rows(classes));
        sandbox.limpid("run small.toml --to evaluate").succeeds();
        String::from_utf8(sandbox.read("runs/small/evaluate/metrics.json")).expect("is text")
    };
    let says = format!("the labels have more than {most} values");
    assert!(!scores(most).contains(&says));
    assert!(scores(most + 1).contains(&says));
}

fn covariances(most: u64) {
    let says = format!("have more than {most} numbers");
    for (columns, is_left_out) in [(most / 2, false), (most / 2 + 1, true)] {
        let sandbox = arrays(2, columns);
        sandbox.limpid("run small.toml --to evaluate").succeeds();
        let metrics = String::from_utf8(sandbox.read("runs/small/evaluate/metrics.json")).expect("is text");
        assert_eq!(metrics.contains(&says), is_left_out, "{columns} columns\n{metrics}");
    }
}
