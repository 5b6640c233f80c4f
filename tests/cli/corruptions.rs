//! Every corruption makes noisy images and trains a denoiser; noise that is not clipped is scored too.

use std::path::Path;

use limpid::table::{TableFile, lists, pixels};
use serde_json::Value;

use crate::harness::Sandbox;

const PIPELINE: &str = r#"
name = "small"
[source]
strokes = { train = 60, test = 20 }
[model]
dense = { hidden = [], code = 4 }
loss = "mse"
[training]
input = "noisy"
epochs = 1
"#;

/// Each `[corruption]`, and whether its pixels stay in [0, 1].
const CORRUPTIONS: [(&str, bool); 15] = [
    ("{ blur = { std = 1.5 } }", true),
    ("{ downsample = { factor = 3 } }", true),
    ("{ gaussian = { std = [0.0, 0.2] } }", true),
    ("{ gaussian = { std = 0.2, clip = false } }", false),
    ("{ grayscale = {} }", true),
    ("{ jpeg = { quality = 30 } }", true),
    ("{ jpeg = { quality = [10, 80] } }", true),
    ("{ masking = {} }", true),
    ("{ poisson = { peak = 30.0 } }", true),
    ("{ poisson = { peak = [5, 50], clip = false } }", false),
    ("{ salt-and-pepper = {} }", true),
    ("{ speckle = {} }", true),
    ("{ speckle = { std = [0.1, 0.4], clip = false } }", false),
    ("{ several = [{ blur = { std = 1.0 } }, { gaussian = { std = 0.1 } }, { jpeg = { quality = [10, 80] } }] }", true),
    ("{ several = [{ gaussian = { clip = false } }, { poisson = { peak = 10 } }, { downsample = {} }] }", true),
];

/// The numbers of the images of a table.
fn numbers(path: &Path) -> Vec<f32> {
    let table = TableFile::open(path).expect("is a table");
    table
        .all()
        .flat_map(|batch| pixels::values(lists(&batch.expect("is whole"), "image").expect("are there")))
        .collect()
}

#[test]
fn every_corruption_trains_and_denoises() {
    let sandbox = Sandbox::with(PIPELINE);
    let test = "test-00000-of-00001.parquet";
    for (corruption, clipped) in CORRUPTIONS {
        let coloured = corruption.contains("grayscale") || corruption.contains("quality = 30");
        let run = |words: &str| {
            let floats = if corruption.contains("clip") { "f32" } else { "u8" };
            let words =
                format!("run small.toml {words} --set output.pixels={floats} --set source.strokes.colour={coloured}");
            sandbox.limpid(&words).arg(format!("--set=corruption={corruption}"))
        };
        run("--to denoise").succeeds();
        let path = |stage: &str| sandbox.path(&format!("runs/small/{stage}/{test}"));
        let [clean, noisy, made] = ["ingest", "corrupt", "denoise"].map(|stage| numbers(&path(stage)));
        let channels = if coloured { 3 } else { 1 };
        assert!(clean.len() == 20 * 28 * 28 * channels && noisy.len() == clean.len() && made.len() == clean.len());
        assert!(clean != noisy, "{corruption} changes nothing");
        assert_eq!(noisy.iter().all(|value| (0.0..=1.0).contains(value)), clipped, "{corruption}");
        // Whatever the noise is, a table of it says that it may be denoised.
        sandbox.limpid(&format!("denoise runs/small runs/small/corrupt/{test} -o made")).succeeds();
        // On any number of threads the same.
        run("--runs one --threads 1 --to corrupt").succeeds();
        assert!(sandbox.files("one/small/corrupt") == sandbox.files("runs/small/corrupt"), "{corruption}");
    }
}

#[test]
fn noise_that_is_not_clipped_is_scored_as_it_is() {
    let sandbox = Sandbox::with(&format!("{PIPELINE}[output]\npixels = \"f32\"\n"));
    let noise = "corruption={gaussian={std=0.2,clip=false}}";
    sandbox.limpid("run small.toml").arg("--set").arg(noise).succeeds();
    let metrics: Value = serde_json::from_slice(&sandbox.read("runs/small/evaluate/metrics.json")).expect("is JSON");
    let scores = metrics["scores"].as_array().expect("are listed");
    let noisy = scores.iter().find(|scores| scores["baseline"] == "noisy-input").expect("is scored");
    let mse = noisy["mse"].as_f64().expect("is a number");
    // 15,680 numbers: the standard error of the variance is 1.1 %.
    assert!((mse / 0.04 - 1.0).abs() < 0.05, "{mse}");
    let run = sandbox.limpid("run small.toml --set output.pixels=u8").arg("--set").arg(noise);
    run.exits(2).says("corruption.gaussian.clip: false needs floats").says("set output.pixels = \"f32\"");
}
