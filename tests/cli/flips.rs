//! Single flipped bits in limpid's own files are detected before use, or change nothing that is read.
//!
//! `LIMPID_FLIPS` is the number of bits that are tried in each file (10,000 before a release), spread over the file.

use arrow_array::RecordBatch;
use burn::tensor::Device;
use limpid::config::Pipeline;
use limpid::model::{ModelDescription, named_tensors};
use limpid::record::receipt::{Receipt, output_damage};
use limpid::record::workspace::{Workspace, receipt_in};
use limpid::table::TableFile;

use crate::harness::Sandbox;
use crate::random::{Random, number};

/// Flips bits of a file, one at a time, and reads it: `read` must return an error (`None`) or the same as before.
fn flip<T: PartialEq>(sandbox: &Sandbox, file: &str, read: impl Fn() -> Option<T>) {
    let (bytes, flips) = (sandbox.read(file), number("LIMPID_FLIPS", 150));
    let expected = read().unwrap_or_else(|| panic!("{file} is whole"));
    let (mut random, mut harmless) = (Random(number("LIMPID_SEED", 1)), 0);
    for _ in 0..flips {
        let bit = random.below(8 * bytes.len());
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        sandbox.write(file, &flipped);
        if let Some(found) = read() {
            assert!(found == expected, "bit {bit} of {file} goes unnoticed");
            harmless += 1;
        }
    }
    sandbox.write(file, &bytes);
    println!("{file}: {} of {flips} noticed, {harmless} without effect", flips - harmless);
}

#[test]
fn flipped_bits_are_noticed_or_harmless() {
    let sandbox = Sandbox::new();
    sandbox
        .limpid("run small.toml --set source.strokes.train=60 --set source.strokes.test=30 --set output.profile=hf")
        .succeeds();
    let stage = |stage: &str| sandbox.path(&format!("runs/small/{stage}"));
    // Tables are read without a receipt beside them.
    for (name, from) in [("images", "ingest"), ("noisy", "corrupt"), ("features", "encode"), ("denoised", "denoise")] {
        let file = format!("{name}.parquet");
        sandbox.write(&file, &sandbox.read(&format!("runs/small/{from}/test-00000-of-00001.parquet")));
        let path = sandbox.path(&file);
        flip(&sandbox, &file, || {
            let table = TableFile::open(&path).ok()?;
            let batches: Vec<RecordBatch> = table.all().collect::<Result<_, _>>().ok()?;
            let columns: Vec<_> = batches.iter().flat_map(|batch| batch.columns().to_vec()).collect();
            Some((table.content(), table.classes(), columns))
        });
    }
    let small = |file: &str| {
        let path = sandbox.path(file);
        flip(&sandbox, file, || {
            let footer = limpid::table::footer(&path).ok()?;
            let all: Vec<_> = (0..footer.schema().fields().len()).collect();
            let batches = limpid::table::columns(&path, &footer, &all, 1 << 20, 100).ok()?;
            let batches: Vec<RecordBatch> = batches.collect::<Result<_, _>>().ok()?;
            Some(batches.iter().flat_map(|batch| batch.columns().to_vec()).collect::<Vec<_>>())
        });
    };
    [
        "runs/small/train/history.parquet",
        "runs/small/evaluate/metrics.parquet",
        "runs/small/export/ingest/test-00000-of-00001.parquet",
        "runs/small/export/encode/test-00000-of-00001.parquet",
    ]
    .iter()
    .for_each(|file| small(file));
    // A model is read with its receipt.
    let used = |file: &str| {
        let folder = stage("train");
        flip(&sandbox, &format!("runs/small/train/{file}"), || {
            let receipt = receipt_in(&folder).ok()??;
            let (description, model) = ModelDescription::load(&folder, &Device::default()).ok()?;
            let damage = receipt.outputs.iter().find_map(|output| output_damage(output, &folder, true).ok()?);
            damage.is_none().then(|| (description, named_tensors(&model)))
        });
    };
    ["model.json", "last.safetensors", "optimizer.safetensors", "_receipt.json"].iter().for_each(|file| used(file));
    let workspace = Workspace::existing(&sandbox.path("runs/small")).expect("is one");
    flip(&sandbox, "runs/small/evaluate/metrics.json", || {
        let metrics = limpid::pipeline::metrics(&workspace).ok()??;
        Some(format!("{metrics:?}"))
    });
    flip(&sandbox, "runs/small/encode/_receipt.json", || {
        Receipt::parse(&sandbox.read("runs/small/encode/_receipt.json")).map(|receipt| format!("{receipt:?}"))
    });
    flip(&sandbox, "runs/small/pipeline.json", || {
        workspace.settings::<Pipeline>().ok().and_then(|settings| serde_json::to_string(&settings).ok())
    });
}
