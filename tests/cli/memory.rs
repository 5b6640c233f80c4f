//! Memory is bounded, whatever the number and the size of the images.

#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use image::{ImageFormat, Rgb, RgbImage};
use parquet::basic::Compression;

use crate::harness::Sandbox;
use crate::own_images::{encoded, picture};

/// With a small `memory-mib`, so that training streams too.
const PIPELINE: &str = r#"
[source]
idx = { train = "train.idx", test = "test.idx" }
[corruption]
masking = { fraction = 0.5 }
[model]
dense = { code = 2 }
[training]
epochs = 1
memory-mib = 1
[evaluate]
fit-rows = 4000
"#;

/// Writes images of noise, which do not compress.
fn noise(sandbox: &Sandbox, name: &str, count: u32, side: u32) {
    let mut file = BufWriter::new(File::create(sandbox.path(name)).expect("created"));
    let header = [[0, 0, 8, 3], count.to_be_bytes(), side.to_be_bytes(), side.to_be_bytes()].concat();
    file.write_all(&header).expect("written");
    let mut state = 1_u64;
    for _ in 0..u64::from(count) * u64::from(side * side) / 4 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        file.write_all(&state.to_be_bytes()[..4]).expect("written");
    }
    file.flush().expect("written");
}

/// A sandbox with images of one size.
fn images(count: u32, side: u32) -> Sandbox {
    let sandbox = Sandbox::with(PIPELINE);
    noise(&sandbox, "train.idx", count, side);
    noise(&sandbox, "test.idx", 100, side);
    sandbox
}

/// Peak memory of a stage, in MB.
fn peak(sandbox: &Sandbox, stage: &str) -> u64 {
    let (done, peak) = sandbox.limpid(&format!("run small.toml --threads 1 --to {stage}")).peak();
    assert!(done.status().success(), "{stage}\n{done}");
    peak
}

#[test]
fn memory_does_not_grow_with_the_number_of_images() {
    // Both have more row groups than are ever in flight at once.
    let (few, many) = (images(80_000, 28), images(200_000, 28));
    let more = 120_000 * 28 * 28 / 1_000_000;
    for stage in ["ingest", "corrupt", "train", "encode", "denoise", "evaluate"] {
        let (few, many) = (peak(&few, stage), peak(&many, stage));
        println!("{stage}: {few} MB for 80,000 images, {many} MB for 200,000");
        assert!(many < few + more / 2, "{stage}: {few} MB for 80,000 images, {many} MB for {more} MB more of them");
    }
}

#[test]
fn memory_does_not_grow_with_the_number_of_large_pictures_in_parquet() {
    // Large pictures that become small images, and small files that become large ones.
    for (format, fit) in [(ImageFormat::Bmp, ", resize = [8, 8]"), (ImageFormat::Png, "")] {
        large_pictures(format, fit);
    }
}

fn large_pictures(format: ImageFormat, fit: &str) {
    let pictures = |count: u32| {
        let sandbox = Sandbox::with(&PIPELINE.replace(
            "idx = { train = \"train.idx\", test = \"test.idx\" }",
            &format!("parquet = {{ train = \"train.parquet\", test = \"test.parquet\"{fit} }}"),
        ));
        let file = |seed| match format {
            ImageFormat::Bmp => encoded(&picture(256, 256, seed), format),
            // A picture of one colour.
            _ => encoded(&RgbImage::from_pixel(256, 256, Rgb([seed as u8; 3])).into(), format),
        };
        for (name, count) in [("train.parquet", count), ("test.parquet", 1)] {
            let batches = (0..count).step_by(100).map(|first| {
                let files = (first..count.min(first + 100)).map(file);
                let column: ArrayRef = Arc::new(files.map(Some).collect::<BinaryArray>());
                RecordBatch::try_from_iter([("image", column)]).expect("fits")
            });
            crate::foreign::write(&sandbox, name, &batches.collect::<Vec<_>>(), Compression::UNCOMPRESSED);
        }
        sandbox
    };
    let (few, many) = (pictures(100), pictures(600));
    let more = 500 * 256 * 256 * 3 / 1_000_000;
    let (few, many) = (peak(&few, "ingest"), peak(&many, "ingest"));
    println!("{format:?}: {few} MB for 100 pictures, {many} MB for 600");
    assert!(many < few + more / 2, "{format:?}: {few} MB for 100 pictures, {many} MB for {more} MB more of them");
}

#[test]
fn memory_does_not_grow_with_the_size_of_the_images() {
    let (small, large) = (images(30_000, 28), images(2_000, 160));
    for stage in ["ingest", "corrupt"] {
        let (small, large) = (peak(&small, stage), peak(&large, stage));
        println!("{stage}: {small} MB for images of 28×28, {large} MB for 160×160");
        assert!(large < 2 * small, "{stage}: {small} MB for images of 28×28, {large} MB for 160×160");
    }
}
