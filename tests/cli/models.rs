//! Models that the textbook chapter does not have: without a code, with residual blocks, with sparse codes.

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use serde_json::Value;

use crate::foreign::read;
use crate::harness::{PIPELINE, Sandbox};

const CODES: &str = "encode/test-00000-of-00001.parquet";

/// The pipeline of the other tests with another model.
fn with_model(model: &str) -> Sandbox {
    Sandbox::with(&PIPELINE.replace("dense = { hidden = [32], code = 8 }", model))
}

#[test]
fn a_unet_denoises_and_has_no_features() {
    let sandbox = with_model("unet = { channels = [4, 6, 8], residual-blocks = 1 }");
    sandbox.limpid("run small.toml").succeeds().says("denoise: done").says("evaluate: done");
    assert!(!sandbox.path("runs/small/encode").exists());
    let metrics: Value = serde_json::from_slice(&sandbox.read("runs/small/evaluate/metrics.json")).expect("is JSON");
    assert_eq!((&metrics["code"], &metrics["probes"]), (&Value::Null, &Value::Null));
    let omitted = metrics["omitted"].as_array().expect("is a list");
    assert!(omitted.iter().any(|left| left["what"] == "probes" && left["reason"] == "the model has no code"));
    assert!(metrics["scores"][0]["psnr-pooled"].as_f64().is_some_and(|psnr| psnr > 5.0));
    let page = String::from_utf8(sandbox.read("runs/small/report/report.html")).expect("is text");
    assert!(page.contains("Denoising with a U-Net") && !page.contains("class=\"map\""));
    sandbox.limpid("show runs/small").succeeds().prints("denoise");
    sandbox.limpid("plan small.toml --check").succeeds();

    // A model without a code refuses to encode, before anything is changed.
    sandbox.limpid("run small.toml --only encode").exits(2).says("this pipeline has no stage \"encode\"");
    let images = "runs/small/ingest/test-00000-of-00001.parquet";
    sandbox.limpid(&format!("encode runs/small {images} -o out")).exits(2).says("a U-Net has no code");
    assert!(!sandbox.path("out").exists());
    sandbox.limpid(&format!("denoise runs/small {images} -o out")).succeeds();
    sandbox.limpid("export runs/small --onnx x.onnx --part encoder").exits(2).says("a U-Net has no code");
    sandbox.limpid("export runs/small --onnx x.onnx").succeeds();
    sandbox.limpid("run small.toml --set model.sparsity=0.1").exits(2).says("model.sparsity").says("U-Net");
}

#[test]
fn what_predicts_noise_starts_at_the_identity_and_says_so_in_its_description() {
    let sandbox = with_model("unet = { channels = [4, 6] }\nloss = \"mse\"\npredict = \"noise\"");
    // The smallest rate leaves the model at its start.
    let still = "--set training.learning-rate=1e-9 --set training.epochs=1 --set name=still --set output.pixels=f32";
    sandbox.limpid(&format!("run small.toml {still} --to denoise")).succeeds().says("train mean squared error");
    let images = |stage: &str| -> Vec<f32> {
        let rows = read(&sandbox, &format!("runs/still/{stage}/test-00000-of-00001.parquet")).0;
        let images = rows.column_by_name("image").expect("is there").as_fixed_size_list().values().clone();
        images.as_primitive::<Float32Type>().values().to_vec()
    };
    let most = images("corrupt").iter().zip(images("denoise")).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(most < 1e-4, "{most}");

    sandbox.limpid("run small.toml").succeeds().says("evaluate: done");
    let metrics: Value = serde_json::from_slice(&sandbox.read("runs/small/evaluate/metrics.json")).expect("is JSON");
    let mse = |index: usize| metrics["scores"][index]["mse"].as_f64().expect("is a number");
    assert!(mse(0) < 0.9 * mse(1), "{} is not better than the input's {}", mse(0), mse(1));
    let description = String::from_utf8(sandbox.read("runs/small/train/model.json")).expect("is text");
    assert!(description.contains("\"predict\": \"noise\""), "{description}");
    // A description of what cannot be is damaged data.
    sandbox.write("runs/small/train/model.json", description.replace("\"mse\"", "\"cross-entropy\"").as_bytes());
    let images = "runs/small/ingest/test-00000-of-00001.parquet";
    sandbox.limpid(&format!("denoise runs/small {images} -o out")).exits(65);
}

#[test]
fn a_penalty_on_the_code_makes_it_smaller() {
    let sandbox = with_model("dense = { hidden = [], code = 8 }");
    let magnitude = |sparsity: &str| -> f32 {
        let set = format!("--set name=s{sparsity} --set model.sparsity={sparsity} --to encode");
        sandbox.limpid(&format!("run small.toml {set}")).succeeds();
        let codes = read(&sandbox, &format!("runs/s{sparsity}/{CODES}")).0;
        let codes = codes.column_by_name("code").expect("is there").as_fixed_size_list().values().clone();
        codes.as_primitive::<Float32Type>().values().iter().map(|number| number.abs()).sum()
    };
    let [none, strong] = ["0.0", "1.0"].map(magnitude);
    assert!(strong < 0.5 * none && strong >= 0.0, "{none} {strong}");
}
