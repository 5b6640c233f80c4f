//! `limpid init`: pipelines that it writes run.

use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use arrow_schema::{Field, Schema};
use image::{DynamicImage, ImageFormat};

use crate::applying::idx;
use crate::harness::Sandbox;
use crate::own_arrays::{npy, npz};
use crate::own_images::{encoded, picture, png};

/// Writes pictures and labels as Parquet.
fn table(sandbox: &Sandbox, path: &str, count: i64) {
    let pictures: ArrayRef = Arc::new((0..count).map(|seed| Some(png(12, 12, seed as u32))).collect::<BinaryArray>());
    let labels: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count).map(|at| at % 2)));
    let fields = [("image", &pictures), ("label", &labels)]
        .map(|(name, column)| Field::new(name, column.data_type().clone(), true));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), vec![pictures.clone(), labels.clone()]);
    sandbox.write(path, b"");
    crate::foreign::write(sandbox, path, &[batch.expect("fits")], parquet::basic::Compression::SNAPPY);
}

/// Inputs of every kind, with the words that the pipeline for each has.
fn inputs(sandbox: &Sandbox) -> Vec<(&'static str, &'static str)> {
    for index in 0..24 {
        let class = ["cat", "dog"][index % 2];
        sandbox.write(&format!("flat/{index}.png"), &png(20, 20, index as u32));
        sandbox.write(
            &format!("split/{}/{class}/{index}.png", ["Training", "Testing"][index / 2 % 2]),
            &png(6, 7, index as u32),
        );
        for split in ["train", "test", "val"] {
            sandbox.write(&format!("three/{split}/{class}/{index}.png"), &png(6, 7, index as u32));
        }
        sandbox.write(&format!("mixed/{class}/{index}.png"), &png(40 + index as u32, 50, index as u32));
        let colour = picture(8, 9, index as u32);
        let tone = if class == "cat" { colour } else { DynamicImage::from(colour.to_luma8()) };
        let tone = encoded(&tone, ImageFormat::Png);
        sandbox.write(&format!("tones/{class}/{index:02}.png"), &tone);
        sandbox.write(&format!("around/{}{index}.png", ["", "inner/"][index % 2]), &png(8, 9, index as u32));
    }
    let pixels: Vec<u8> = (0..30 * 100).map(|at| (at % 251) as u8).collect();
    let array = |count: usize| npy("|u1", &format!("({count}, 10, 10)"), &pixels[..count * 100]);
    let labels = |count: usize| npy("|u1", &format!("({count},)"), &pixels[..count]);
    let keras = [("x_train", array(30)), ("y_train", labels(30)), ("x_test", array(9)), ("y_test", labels(9))];
    sandbox.write("keras.npz", &npz(&keras, zip::CompressionMethod::Deflated));
    let med = [
        ("train_images", array(30)),
        ("val_images", array(9)),
        ("test_images", array(8)),
        ("train_labels", labels(30)),
        ("val_labels", labels(9)),
        ("test_labels", labels(8)),
    ];
    sandbox.write("med.npz", &npz(&med, zip::CompressionMethod::Deflated));
    sandbox.write("scans.npy", &array(30));
    sandbox.write("arrays/x_train.npy", &array(30));
    sandbox.write("arrays/y_train.npy", &labels(30));
    sandbox.write("arrays/x_test.npy", &array(9));
    for (name, sizes) in [
        ("train-images-idx3-ubyte", &[30, 10, 10][..]),
        ("train-labels-idx1-ubyte", &[30]),
        ("t10k-images-idx3-ubyte", &[9, 10, 10]),
        ("t10k-labels-idx1-ubyte", &[9]),
    ] {
        sandbox.write(&format!("bytes/{name}"), &idx(sizes));
    }
    let head: Vec<_> = (0..100).map(|at| format!("pixel{at}")).collect();
    let lines = pixels.chunks(100).map(|row| row.iter().map(u8::to_string).collect::<Vec<_>>().join(","));
    let rows: Vec<_> = lines.map(|line| format!("3,{line}")).collect();
    sandbox.write("train.csv", format!("label,{}\n{}\n", head.join(","), rows.join("\n")).as_bytes());
    let list: String = (0..24).map(|index| format!("{index}.png,{}\n", index % 3)).collect();
    (0..24).for_each(|index| _ = sandbox.write(&format!("listed/{index}.png"), &png(9, 9, index)));
    sandbox.write("listed/labels.csv", format!("file_name,label\n{list}").as_bytes());
    table(sandbox, "hub/data/train-00000-of-00001.parquet", 24);
    table(sandbox, "hub/data/test-00000-of-00001.parquet", 8);
    table(sandbox, "one.parquet", 24);
    let mut shard = tar::Builder::new(Vec::new());
    for index in 0..24 {
        let bytes = png(12, 12, index);
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        shard.append_data(&mut header, format!("{index:04}.png"), bytes.as_slice()).expect("memory");
    }
    sandbox.write("shards/0.tar", &shard.into_inner().expect("memory"));
    vec![
        ("flat", "folder = { path = \"flat\", test-fraction = "),
        ("split", "2 classes, cat, dog"),
        ("mixed", "patch = 32"),
        (
            "tones",
            "tones/dog/01.png is grey and ./tones/cat/00.png RGB: grey = false makes all of them RGB, true makes all grey",
        ),
        ("around", "labels = \"none\""),
        ("keras.npz", "test = \"x_test\""),
        ("med.npz", "train-labels = \"train_labels\", test = \"test_images\""),
        ("three", "24 images of 6×7×3 to train on, 24 to test on, 24 to choose weights by; 2 classes"),
        ("scans.npy", "npy = { train = \"scans.npy\""),
        ("arrays", "train-labels = \"arrays/y_train.npy\""),
        ("bytes", "test = \"bytes/t10k-images-idx3-ubyte\""),
        ("train.csv", "columns = { train = \"train.csv\""),
        ("listed", "csv = \"listed/labels.csv\""),
        ("hub", "parquet = { path = \"hub\" }"),
        ("one.parquet", "parquet = { train = \"one.parquet\""),
        ("shards", "tar = { train = \"shards/0.tar\""),
        // What a run has made of images is an input too.
        ("runs/flat/ingest", "parquet = { path = \"runs/flat/ingest\" }"),
        ("", "strokes = { train = "),
        ("strokes", "strokes = { train = "),
        ("scenes", "scenes = { train = "),
        // Each page is there with its stains: no noise is made up.
        ("documents", "[model]\nunet"),
    ]
}

#[test]
fn a_pipeline_is_written_for_every_kind_of_data_and_runs() {
    let sandbox = Sandbox::new();
    for (data, expected) in inputs(&sandbox) {
        let written = sandbox.limpid(&format!("init {data}")).succeeds();
        let printed = written.stdout();
        let file = printed.lines().next().expect("is printed");
        let text = String::from_utf8(sandbox.read(file)).expect("is text");
        assert!(text.contains(expected), "{data}: {expected}\n{text}");
        assert_eq!(text.contains("[corruption]"), data != "documents", "{data}\n{text}");
        // The number of epochs is left to the pipeline where that takes no time.
        let fewer =
            if matches!(data, "" | "mixed") { " --set training.epochs=1 --set source.strokes.train=100" } else { "" };
        let fewer = match data {
            "mixed" => " --set training.epochs=1".to_owned(),
            "strokes" | "scenes" | "documents" => {
                format!(" --set training.epochs=1 --set source.{data}.train=30 --set source.{data}.test=9")
            }
            _ => fewer.to_owned(),
        };
        sandbox.limpid(&format!("run {file}{fewer}")).succeeds();
        sandbox.limpid(&format!("init {data}")).exits(2).says(&format!("{file} exists; --force writes over it"));
    }
    // Elsewhere, paths in the pipeline still lead to the data.
    std::fs::create_dir(sandbox.path("pipelines")).expect("created");
    sandbox.limpid("init flat -o pipelines/mine.toml").succeeds();
    sandbox.limpid("run pipelines/mine.toml --to ingest").succeeds();
}

#[test]
fn mnist_is_a_name_that_needs_no_data() {
    let Some(mnist) = std::env::var_os("MNIST_DIR") else { return println!("skipped: MNIST_DIR is not set") };
    let sandbox = Sandbox::new();
    sandbox.limpid("init mnist").env("MNIST_DIR", &mnist).succeeds();
    let text = String::from_utf8(sandbox.read("mnist.toml")).expect("is text");
    assert!(text.contains("60000 images of 28×28 to train on, 10000 to test on; 10 classes"), "{text}");
    sandbox.limpid("run mnist.toml --to ingest").env("MNIST_DIR", &mnist).succeeds();
    // What is there comes first.
    sandbox.write("mnist/1.png", &png(8, 8, 1));
    sandbox.limpid("init mnist --force").env("MNIST_DIR", &mnist).exits(65).says("leaves none for the split");
}

#[test]
fn data_that_cannot_be_read_get_no_pipeline() {
    let sandbox = Sandbox::new();
    sandbox.write("notes/a.txt", b"text");
    sandbox.write("one/a.png", &png(8, 8, 1));
    sandbox.write("list.csv", b"a,b\n1,2\n");
    for (data, code, expected) in [
        ("nowhere", 2, "nowhere does not exist"),
        ("notes", 65, "notes holds no images that limpid reads"),
        ("one/a.png", 2, "one/a.png is one picture: name a folder of them, as limpid init one"),
        ("one", 65, "leaves none for the split"),
        ("small.toml", 65, "small.toml is a TOML file"),
        ("list.csv", 65, "has no columns of pixels"),
    ] {
        sandbox.limpid(&format!("init {data} -o new.toml")).exits(code).says(expected);
        assert!(!sandbox.path("new.toml").exists(), "{data}");
    }
}
