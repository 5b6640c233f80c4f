//! Golden tests: the bytes that limpid writes are compared with committed digests, so that a refactoring cannot change them.
//!
//! Six small pipelines cover every kind of model, layer and export. Kernels round differently on different kinds of processor, so
//! each kind has its own digests; where there are none, or on another processor of the kind, the test says so.
//! `LIMPID_GOLDEN=write` writes them anew, for a change that is meant to change bytes and raises the versions of stages.

use std::collections::{BTreeMap, BTreeSet};

use image::ImageFormat;
use limpid::record::receipt::Receipt;

use crate::harness::{Sandbox, files};
use crate::own_images::{encoded, picture};

const NOISE: &str = "[corruption]\ngaussian = { std = 0.5 }\n";

/// Name, source, corruption, and the rest.
const PIPELINES: [(&str, &str, &str, &str); 6] = [
    (
        "dense",
        "strokes = { train = 60, test = 20 }",
        "",
        "[model]\ndense = { hidden = [16], code = 8 }\n[training]\nepochs = 2\n",
    ),
    (
        "conv",
        "strokes = { train = 60, test = 20 }",
        NOISE,
        "[model]\nconv = { channels = [4, 6], code = 5, residual-blocks = 1 }\nloss = \"mse\"\n[training]\ninput = \"noisy\"\nepochs = 2\n\
         schedule = \"cosine\"\nweights = \"best\"\n[encode]\ninput = \"noisy\"\n",
    ),
    (
        "unet",
        "strokes = { train = 60, test = 20 }",
        "[corruption]\nsalt-and-pepper = { fraction = 0.2 }\n",
        "[model]\nunet = { channels = [4, 6, 8] }\n[training]\ninput = \"noisy\"\nnoise = \"fixed\"\nepochs = 1\n[output]\npixels = \"f32\"\n",
    ),
    (
        "noise2noise",
        "strokes = { train = 60, test = 20 }",
        "[corruption]\nmasking = { fraction = 0.3 }\n",
        "[model]\ndense = { hidden = [], code = 4 }\nloss = \"mse\"\n[training]\ninput = \"noisy\"\ntarget = \"noisy\"\nepochs = 1\n",
    ),
    (
        "colour",
        "strokes = { train = 60, test = 20, colour = true }",
        "[corruption]\ngrayscale = {}\n",
        "[model]\nconv = { channels = [4, 4] }\n[training]\ninput = \"noisy\"\nepochs = 1\n[output]\nprofile = \"hf\"\n",
    ),
    (
        "folder",
        "folder = { path = \"photos\", resize = [12, 10], test-fraction = 0.4, on-error = \"skip\" }",
        NOISE,
        "[model]\ndense = { code = 3 }\n[training]\ninput = \"noisy\"\nepochs = 1\n[output]\nprofile = \"spark\"\npart-rows = 5\n",
    ),
];

/// The kind of processor that the kernels distinguish.
fn kind() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            return "x86-64-avx512";
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return "x86-64-avx2";
        }
    }
    std::env::consts::ARCH
}

/// The processor model: matrix products are blocked by the sizes of its caches, which decide how sums are rounded.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find(|line| line.split(':').next().is_some_and(|found| found.trim() == key));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned())).unwrap_or_default()
    };
    ["model name", "cpu family", "model", "cache size"].map(value).join(", ")
}

/// A line for each file that the pipelines write, and for the fingerprint of each stage.
fn digests() -> String {
    let sandbox = Sandbox::new();
    for seed in 0..14 {
        let (class, format) = if seed % 2 == 0 { ("cat", ImageFormat::Png) } else { ("dog", ImageFormat::Bmp) };
        sandbox.write(&format!("photos/{class}/{seed}.png"), &encoded(&picture(12 + seed, 9, seed), format));
    }
    sandbox.write("photos/cat/broken.png", b"\x89PNG\r\n\x1a\n");
    let mut lines = BTreeMap::new();
    for (name, source, corruption, rest) in PIPELINES {
        let text = format!("seed = 3\n[source]\n{source}\n{corruption}{rest}[gate]\nbaselines = []\n");
        sandbox.write(&format!("{name}.toml"), text.as_bytes());
        sandbox.limpid(&format!("run {name}.toml")).succeeds();
        sandbox.limpid(&format!("export runs/{name} --onnx runs/{name}/model.onnx")).succeeds();
        let folder = sandbox.path(&format!("runs/{name}"));
        for (file, bytes) in files(&folder).expect("is there") {
            // The fingerprints cover the settings, and the lock names the process.
            if !file.starts_with('.') && file != "pipeline.json" {
                lines.insert(format!("{name}/{file}"), blake3::hash(&bytes).to_hex().to_string());
            }
        }
        for stage in std::fs::read_dir(&folder).expect("is there") {
            let path = stage.expect("is readable").path();
            if let Ok(bytes) = std::fs::read(path.join("_receipt.json")) {
                let stage = path.file_name().expect("has one").to_string_lossy().into_owned();
                lines
                    .insert(format!("{name}/{stage} fingerprint"), Receipt::parse(&bytes).expect("is one").fingerprint);
            }
        }
    }
    lines.iter().map(|(name, digest)| format!("{digest} {name}\n")).collect()
}

#[test]
fn the_bytes_are_those_that_are_committed() {
    let path = format!("{}/tests/golden/{}.txt", env!("CARGO_MANIFEST_DIR"), kind());
    let found = digests();
    if std::env::var_os("LIMPID_GOLDEN").is_some_and(|value| value == "write") {
        std::fs::write(&path, format!("{}\n{found}", processor())).expect("written");
    }
    let Ok(committed) = std::fs::read_to_string(&path) else {
        println!("skipped: there are no digests for {}; LIMPID_GOLDEN=write makes them", kind());
        return;
    };
    let (made_on, expected) = committed.split_once('\n').expect("has lines");
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<String>>();
    let mut differing: Vec<String> = lines(&found).symmetric_difference(&lines(expected)).cloned().collect();
    if made_on != processor() && !differing.is_empty() {
        println!("on this processor other bytes may be right: the digests were made on {made_on}");
        // ingest rounds no sums.
        differing.retain(|line| line.contains("/ingest"));
    }
    assert!(differing.is_empty(), "other bytes, or files that are new or gone:\n{}", differing.join("\n"));
}
