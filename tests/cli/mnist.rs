//! The real MNIST, where `MNIST_DIR` names a folder that holds it.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::download::{answer, serve};
use crate::harness::Sandbox;

const DENSE: &str = "[source]\nmnist = {}\n[model]\ndense = {}\n[training]\nepochs = 1\n";

fn mnist() -> Option<PathBuf> {
    let folder = std::env::var_os("MNIST_DIR").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: MNIST_DIR does not name a folder that holds MNIST");
    }
    folder
}

#[test]
fn one_epoch_of_the_chapter_model_follows_pytorch() {
    let Some(folder) = mnist() else { return };
    let sandbox = Sandbox::with(DENSE);
    sandbox.limpid("run small.toml").env("MNIST_DIR", folder).succeeds();
    let shown = sandbox.limpid("show runs/small --json").succeeds().stdout();
    let shown: Value = serde_json::from_str(&shown).expect("is JSON");
    let stage = |name: &str| {
        let stages = shown["stages"].as_array().expect("is a list");
        stages.iter().find(|stage| stage["stage"] == name).expect("has run").clone()
    };
    assert_eq!(stage("ingest")["outputs"][0]["rows"], 60_000);
    assert_eq!(stage("ingest")["outputs"][1]["rows"], 10_000);
    // Constants of the data set: the floor of the cross-entropy and the score of the mean pixel, on the test split.
    let metrics = &shown["metrics"];
    assert!((metrics["cross-entropy-floor"].as_f64().expect("is a number") - 0.05808).abs() < 5e-5);
    assert!((metrics["scores"][1]["psnr-pooled"].as_f64().expect("is a number") - 10.16).abs() < 0.005);
    // scikit-learn's results for 32 principal components, and for pixels.
    let near = |value: &Value, expected: f64, tolerance: f64| {
        assert!((value.as_f64().expect("is a number") - expected).abs() < tolerance, "{value} is not {expected}");
    };
    near(&metrics["scores"][2]["mse"], 0.015_207, 2e-6);
    let features = &metrics["probes"]["features"];
    assert_eq!((&features[1]["what"], &features[2]["what"]), (&"PCA 32".into(), &"pixels".into()));
    near(&features[1]["linear-accuracy"], 0.9008, 5e-4);
    near(&features[1]["neighbours-accuracy"], 0.9756, 3e-4);
    near(&features[2]["neighbours-accuracy"], 0.9688, 3e-4);
    // PyTorch 2.9 with the same settings gave 0.03670 with one seed.
    let mse = metrics["scores"][0]["mse"].as_f64().expect("is a number");
    assert!((0.034..0.040).contains(&mse), "{mse}");
}

#[test]
fn a_download_that_breaks_off_is_tried_again() {
    let Some(folder) = mnist() else { return };
    let sandbox = Sandbox::with(DENSE);
    // Each file is truncated the first time.
    let mut seen = HashSet::new();
    let mirror = serve(move |stream, name, _| {
        let body = std::fs::read(folder.join(name)).expect("is there");
        let end = if seen.insert(name.to_owned()) { body.len() / 2 } else { body.len() };
        answer(stream, "", body.len(), &body[..end]);
    });
    let mirrors = format!("source.mnist.mirrors=[\"http://127.0.0.1:9/\",\"{mirror}/\"]");
    sandbox.limpid("run small.toml --to ingest --set").arg(&mirrors).succeeds();
    let mut names: Vec<_> = sandbox.files("data/mnist").into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.iter().all(|name| name.ends_with("-ubyte.gz")), "{names:?}");
    // The second run finds the files.
    sandbox.limpid("run small.toml --to ingest --force").succeeds();
}

/// The payloads of the four files, by their names.
fn payloads(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
        .map(|name| {
            let raw = folder.join(name);
            let bytes = std::fs::read(&raw).or_else(|_| std::fs::read(raw.with_extension("gz"))).expect("is there");
            let mut payload = Vec::new();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut payload).expect("is gzip");
            } else {
                payload = bytes;
            }
            (name, payload)
        })
        .into()
}

#[test]
fn it_is_found_in_every_container_and_place() {
    let Some(folder) = mnist() else { return };
    let payloads = payloads(&folder);
    // Without a reachable mirror, only local files can work.
    let sandbox = Sandbox::with(&DENSE.replace("mnist = {}", "mnist = { mirrors = [\"http://127.0.0.1:9/\"] }"));
    let ingested = || {
        let run = sandbox.limpid("run small.toml --to ingest --force").succeeds();
        let files = sandbox.files("runs/small/ingest");
        (run, blake3::hash(&[files[0].1.as_slice(), &files[1].1].concat()))
    };
    // Keras' archive.
    let file = std::fs::create_dir_all(sandbox.path(".keras/datasets"))
        .and_then(|()| std::fs::File::create(sandbox.path(".keras/datasets/mnist.npz")));
    let mut archive = zip::ZipWriter::new(file.expect("created"));
    let keras = ["x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy"];
    for (entry, (name, payload)) in keras.into_iter().zip(&payloads) {
        let header = if name.contains("images") { 16 } else { 8 };
        archive.start_file(entry, zip::write::SimpleFileOptions::default()).expect("starts");
        archive.write_all(b"\x93NUMPY\x01\x00\x04\x00{  }").expect("writes");
        archive.write_all(&payload[header..]).expect("writes");
    }
    archive.finish().expect("writes");
    let (_, keras) = ingested();
    // Burn's folder comes before Keras'; raw files, one of them under the name of a gzip file.
    for (index, (name, payload)) in payloads.iter().enumerate() {
        let end = if index == 1 { ".gz" } else { "" };
        sandbox.write(&format!(".cache/burn-dataset/mnist/{name}{end}"), payload);
    }
    std::fs::remove_dir_all(sandbox.path(".keras")).expect("removed");
    assert_eq!(ingested().1, keras);
    // torchvision's folder comes before Burn's; a damaged file there is skipped.
    sandbox.write("MNIST/raw/train-images-idx3-ubyte", b"damaged");
    let (run, burn) = ingested();
    run.says("passing over MNIST/raw (").says("is not MNIST's train-images-idx3-ubyte: it has 7 bytes");
    assert_eq!(burn, keras);
    for (name, payload) in &payloads {
        sandbox.write(&format!("MNIST/raw/{name}"), payload);
    }
    let (run, torchvision) = ingested();
    run.never_says("passing over");
    assert_eq!(torchvision, keras);
}
