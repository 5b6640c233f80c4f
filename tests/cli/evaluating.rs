//! The stage `evaluate`: scores, baselines, classifiers on features, held-out classes, and the gate.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufRead;
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{PIPELINE, Sandbox};

fn metrics(sandbox: &Sandbox, run: &str) -> Value {
    serde_json::from_slice(&sandbox.read(&format!("runs/{run}/evaluate/metrics.json"))).expect("is JSON")
}

fn texts(list: &Value, key: &str) -> Vec<String> {
    let list = list.as_array().expect("is a list");
    list.iter().map(|entry| entry[key].as_str().expect("is text").to_owned()).collect()
}

#[test]
fn images_and_features_are_scored_beside_what_needs_no_training() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let metrics = metrics(&sandbox, "small");
    let mut names = texts(&metrics["scores"], "what");
    names.retain(|name| name != "median 5×5"); // only if it is better than 3×3
    assert_eq!(names, ["denoised", "noisy input", "constant mean", "median 3×3", "PCA 8", "ridge"]);
    // The expected error of such noise.
    let mse = |name: &str| {
        let scores = metrics["scores"].as_array().expect("is a list");
        scores.iter().find(|scores| scores["what"] == name).expect("is there")["mse"].as_f64().expect("is a number")
    };
    assert!(mse("median 3×3") < mse("constant mean") && mse("constant mean") < mse("noisy input"));
    assert!(mse("PCA 8") < mse("constant mean"));
    assert_eq!(texts(&metrics["probes"]["features"], "what"), ["codes", "PCA 8", "pixels", "untrained encoder"]);
    for probe in metrics["probes"]["features"].as_array().expect("is a list") {
        for key in ["linear-accuracy", "neighbours-accuracy"] {
            assert!(probe[key].as_f64().is_some_and(|accuracy| (0.2..=1.0).contains(&accuracy)), "{probe}");
        }
    }
    let bytes = |index: usize| metrics["probes"]["features"][index]["bytes-per-row"].as_u64();
    assert_eq!((bytes(0), bytes(2)), (Some(32), Some(784)));
    // The scores of classes, and the best and worst images, are those of the written images.
    let classes = metrics["classes"].as_array().expect("is a list");
    assert_eq!(classes.iter().filter_map(|class| class["images"].as_u64()).sum::<u64>(), 120);
    let errors = |key: &str| -> Vec<f64> {
        metrics[key]
            .as_array()
            .expect("is a list")
            .iter()
            .map(|image| image["mse"].as_f64().expect("has one"))
            .collect()
    };
    let (best, worst) = (errors("best"), errors("worst"));
    assert_eq!((best.len(), worst.len()), (10, 10));
    assert!(best.is_sorted() && worst.iter().rev().is_sorted() && best[9] <= worst[9]);

    // `metrics.parquet` has the same numbers.
    let file = File::open(sandbox.path("runs/small/evaluate/metrics.parquet")).expect("is there");
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build()).expect("is Parquet");
    let table = reader.map(|batch| batch.expect("reads")).next().expect("has rows");
    let text = |name: &str| table.column_by_name(name).expect("is there").as_string::<i32>().clone();
    let (what, metric) = (text("what"), text("metric"));
    let class = table.column_by_name("class").expect("is there").as_primitive::<Int64Type>();
    let value = table.column_by_name("value").expect("is there").as_primitive::<Float64Type>();
    let of = |wanted: (&str, &str, Option<i64>)| {
        let row = (0..table.num_rows())
            .find(|&row| (what.value(row), metric.value(row), class.iter().nth(row).expect("has rows")) == wanted);
        row.map(|row| value.value(row))
    };
    assert_eq!(of(("ridge", "mse", None)), Some(mse("ridge")));
    assert_eq!(of(("denoised", "mse", Some(0))), classes[0]["scores"][0]["mse"].as_f64());
    assert_eq!(of(("codes", "linear-accuracy", None)), metrics["probes"]["features"][0]["linear-accuracy"].as_f64());
    assert!(of(("codes", "effective-rank", None)).is_some_and(|rank| (1.0..=8.0).contains(&rank)));

    let keys = (0..table.num_rows()).map(|row| (what.value(row), metric.value(row), class.iter().nth(row)));
    assert_eq!(keys.collect::<HashSet<_>>().len(), table.num_rows(), "a number is there twice");

    let shown = sandbox.limpid("show runs/small").succeeds();
    shown.prints("PSNR by class").prints("5 neighbours").prints("effective rank");
}

#[test]
fn baselines_are_kept_for_the_next_model_of_the_same_images() {
    const KEPT: &str = "the baselines are those of the last evaluation of the same images";
    const FILE: &str = "runs/small/evaluate/baselines.json";
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds().never_says(KEPT);
    let first = metrics(&sandbox, "small");
    // What needs no model is not computed again for another model, and the result is the same.
    let other = "run small.toml --set training.epochs=3";
    sandbox.limpid(other).succeeds().says(KEPT).never_says("linear classifier of pixels");
    let kept = sandbox.files("runs/small/evaluate");
    assert_ne!(metrics(&sandbox, "small"), first);
    let again = [other, "--only evaluate --force"].join(" ");
    sandbox.limpid(&again).succeeds().never_says(KEPT);
    assert!(sandbox.files("runs/small/evaluate") == kept, "an evaluation with kept baselines has other bytes");
    // Not for a code of another size, other images, or less of them.
    for change in ["model.dense.code=9", "source.strokes.train=610", "evaluate.fit-rows=300"] {
        sandbox.limpid(&format!("{other} --set {change}")).succeeds().never_says(KEPT);
        sandbox.limpid(other).succeeds().never_says(KEPT);
    }
    // Not if a bit is wrong.
    let mut bytes = sandbox.read(FILE);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    sandbox.write(FILE, &bytes);
    sandbox.limpid("run small.toml --set training.epochs=4").succeeds().never_says(KEPT);
}

#[test]
fn metrics_that_limpid_did_not_write_are_refused() {
    let sandbox = Sandbox::with(PIPELINE);
    sandbox.limpid("run small.toml").succeeds();
    let whole = metrics(&sandbox, "small");
    for (key, value, expected) in [
        ("format", 99.into(), "its format is 99, expected 2"),
        ("scores", Value::Array(Vec::new()), "it lacks scores"),
        ("classes", serde_json::json!([{ "class": 1, "images": 1, "scores": [] }]), "it lacks scores"),
    ] {
        let mut metrics = whole.clone();
        metrics[key] = value;
        sandbox.write("runs/small/evaluate/metrics.json", metrics.to_string().as_bytes());
        for command in ["show runs/small", "diff runs/small runs/small"] {
            sandbox.limpid(command).exits(65).says("is not what this limpid's evaluate writes").says(expected);
        }
    }
}

#[test]
fn a_missed_gate_has_its_own_exit_code_again_and_again() {
    let sandbox = Sandbox::with(&format!("{PIPELINE}[gate]\nbaselines = [\"noisy-input\"]\n"));
    sandbox.limpid("run small.toml").succeeds();
    sandbox.limpid("show runs/small").succeeds().prints("gate, met: pooled PSNR of denoised above that of noisy input");
    let high = "--set gate.least-psnr=99";
    let missed = "pooled PSNR of denoised at least 99 dB (found: ";
    for words in ["plan small.toml", "plan small.toml --only report"] {
        sandbox.limpid(&format!("{words} {high}")).succeeds().says("the gate is missed, so that a run ends with 3");
    }
    // Only the report depends on the gate.
    let run = sandbox.limpid(&format!("run small.toml {high}")).exits(3).prints("runs/small");
    run.says("the gate is missed").says(missed).says("evaluate: up to date").says("report: done");
    sandbox.limpid(&format!("run small.toml {high}")).exits(3).says(missed).says("report: up to date");
    sandbox.limpid(&format!("plan small.toml {high} --check")).succeeds().says("a run ends with 3").says(missed);
    let page = String::from_utf8(sandbox.read("runs/small/report/report.html")).expect("is text");
    assert!(page.contains("1 missed") && page.contains("at least 99 dB"));
    // A run without evaluate has no gate.
    sandbox.limpid(&format!("run small.toml {high} --to train")).succeeds();
    sandbox
        .limpid("run small.toml --set gate.probe-margin=1")
        .exits(3)
        .says("linear accuracy on codes more than 100 points");
    sandbox.limpid("run small.toml --set gate.margin=50").exits(3).says("more than 50 dB above that of noisy input");
    sandbox.limpid("run small.toml").arg("--set=gate.baselines=[]").succeeds();
    sandbox.limpid("run small.toml").arg("--set=gate.baselines=[\"rigde\"]").exits(2).says("gate.baselines");
}

#[test]
fn a_signal_is_answered_while_a_matrix_is_decomposed() {
    // The largest images whose covariances are computed: their components take tens of seconds.
    let sandbox = Sandbox::with(
        "[source]\nscenes = { train = 40, test = 8, size = [64, 64] }\n[model]\ndense = { hidden = [], code = 4 }\n\
         loss = \"mse\"\n[training]\nepochs = 1\n",
    );
    let mut run = sandbox.limpid("run small.toml --log lines --log-every 0s").spawn();
    let mut lines = std::io::BufReader::new(run.stderr.take().expect("is piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("evaluate, principal components: ")), "the decomposition is not told");
    let asked = Instant::now();
    kill_process(Pid::from_child(&run), Signal::TERM).expect("is there");
    assert_eq!(run.wait().expect("can be waited for").code(), Some(75));
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
}

#[test]
fn a_class_that_no_image_has_cannot_be_held_out() {
    let sandbox = Sandbox::with(&PIPELINE.replace("[source]", "[source]\nhold-out = [1, 99, -1]"));
    sandbox
        .limpid("run small.toml --to ingest")
        .exits(65)
        .says("source.hold-out names -1, 99, which is the label of no image");
    sandbox
        .limpid("run small.toml --to ingest --set source.hold-out=[0,1,2,3,4,5,6,7,8,9]")
        .exits(65)
        .says("leaves no image");
}

#[test]
fn held_out_classes_are_left_out_of_training_and_told_by_their_error() {
    let sandbox = Sandbox::with(&PIPELINE.replace("[source]", "[source]\nhold-out = [1, 7, 1]"));
    sandbox.limpid("run small.toml").succeeds();
    let metrics = metrics(&sandbox, "small");
    assert_eq!(metrics["anomaly"]["classes"], serde_json::json!([1, 7]));
    assert!(metrics["anomaly"]["auroc"].as_f64().is_some_and(|auroc| (0.0..=1.0).contains(&auroc)));
    let held_out = metrics["anomaly"]["images"].as_u64().expect("is a number");
    assert_eq!(metrics["probes"]["test-images"].as_u64(), Some(120 - held_out));
    assert_eq!((metrics["images"].as_u64(), metrics["probes"]["classes"].as_u64()), (Some(120), Some(8)));
    let file = File::open(sandbox.path("runs/small/encode/train-00000-of-00001.parquet")).expect("is there");
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| builder.build()).expect("is Parquet");
    let table = reader.map(|batch| batch.expect("reads")).next().expect("has rows");
    let labels = table.column_by_name("label").expect("is there").as_primitive::<Int64Type>();
    assert!(labels.iter().all(|label| !matches!(label, Some(1 | 7) | None)));
    // Ids remain positions in the source.
    let ids = table.column_by_name("id").expect("is there").as_primitive::<Int64Type>();
    assert!(ids.len() < 600 && ids.values().is_sorted() && ids.values().last() > Some(&(ids.len() as i64)));
    sandbox.limpid("show runs/small").succeeds().prints("images of class 1, 7, which training has not seen");
    // Names name the same classes.
    let held = sandbox.files("runs/small/ingest");
    sandbox.limpid("run small.toml --to ingest").arg("--set=source.hold-out=[\"7\", 1]").succeeds();
    assert!(sandbox.files("runs/small/ingest") == held);
    let unknown = sandbox.limpid("run small.toml --to ingest").arg("--set=source.hold-out=[\"seven\", 1]").exits(65);
    unknown.says("source.hold-out names \"seven\", which is the label of no image; 0 is 0; 1 is 1");
    sandbox.limpid("plan small.toml").arg("--set=source.hold-out=[true]").exits(2).says("source.hold-out[0]");
}

#[test]
fn classes_that_only_the_test_split_has_are_told_by_their_error() {
    let sandbox = Sandbox::with(
        "[source]\nfolder = { path = \"parts\" }\n[model]\ndense = { code = 4 }\n[training]\nepochs = 20\nbatch-size = 8\n",
    );
    // Good parts are bright at the left, broken ones at the right.
    let picture = |name: &str, broken: bool, seed: u8| {
        let pixel = |at: usize| if (at % 12 < 6) != broken { 200 + seed % 40 } else { seed % 30 };
        let pixels: Vec<u8> = (0..144).map(pixel).collect();
        let file = sandbox.write(name, b"");
        image::GrayImage::from_raw(12, 12, pixels).expect("fits").save(file).expect("written");
    };
    for index in 0..24 {
        picture(&format!("parts/train/good/{index}.png"), false, index * 7);
        picture(&format!("parts/test/good/{index}.png"), false, index * 11);
    }
    (0..10).for_each(|index| picture(&format!("parts/test/broken/{index}.png"), true, index * 5));
    sandbox.limpid("run small.toml").succeeds();
    let found = metrics(&sandbox, "small");
    // Classes are sorted by name.
    assert_eq!(
        (&found["anomaly"]["classes"], &found["anomaly"]["images"]),
        (&serde_json::json!([0]), &serde_json::json!(10))
    );
    assert!(found["anomaly"]["auroc"].as_f64() > Some(0.9), "{}", found["anomaly"]);
    sandbox.limpid("show runs/small").succeeds().prints("for 10 images of class broken, which training has not seen");
    // With broken parts in training, there is nothing that it has not seen.
    picture("parts/train/broken/0.png", true, 3);
    sandbox.limpid("run small.toml").succeeds();
    assert!(metrics(&sandbox, "small")["anomaly"].is_null());
}

#[test]
fn what_cannot_be_computed_is_left_out_with_the_reason() {
    let pipeline = "[source]\nidx = { train = \"a.idx\", test = \"b.idx\" }\n[corruption]\nmasking = {}\n[model]\ndense = { code = 4 }\n[training]\nepochs = 1\n";
    let sandbox = Sandbox::with(pipeline);
    let (count, side) = (12_u32, 72_u32);
    let header = [[0, 0, 8, 3], count.to_be_bytes(), side.to_be_bytes(), side.to_be_bytes()].concat();
    let pixels = (0..count * side * side).map(|index| (index % 251) as u8).collect();
    let images = [header, pixels].concat();
    sandbox.write("a.idx", &images);
    sandbox.write("b.idx", &images);
    sandbox.limpid("run small.toml").succeeds();
    let metrics = metrics(&sandbox, "small");
    assert_eq!(texts(&metrics["omitted"], "what"), ["pca", "ridge", "probes"]);
    assert!(texts(&metrics["omitted"], "reason")[0].contains("72×72"));
    assert!(metrics["probes"].is_null() && metrics["classes"].as_array().is_some_and(Vec::is_empty));
    sandbox
        .limpid("run small.toml")
        .arg("--set=gate.baselines=[\"ridge\"]")
        .exits(3)
        .says("ridge (found: unknown, since images of 72×72 have more than 4096 numbers)");
    sandbox.limpid("run small.toml").arg("--set=source.hold-out=[1]").exits(65).says("source.hold-out needs the label");
}
