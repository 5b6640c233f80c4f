//! A whole run: its files, and that the same input gives the same bytes.

use std::fs::File;
use std::process::{Command, Stdio};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type, UInt8Type};
use arrow_array::{Array, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::harness::{PIPELINE, STAGES_AND_EXPORT as STAGES, Sandbox};

fn table(sandbox: &Sandbox, path: &str) -> RecordBatch {
    let file = File::open(sandbox.path(path)).expect("is there");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("is Parquet");
    let batches: Vec<_> =
        reader.with_batch_size(100_000).build().expect("reads").map(|batch| batch.expect("reads")).collect();
    arrow_select_concat(&batches)
}

fn arrow_select_concat(batches: &[RecordBatch]) -> RecordBatch {
    assert_eq!(batches.len(), 1, "the tests' tables are small");
    batches[0].clone()
}

#[test]
fn a_run_writes_every_table_with_the_same_rows() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds().prints("runs/small").says("train: epoch 2/2");
    for (stage, column, len) in
        [("ingest", "image", 784), ("corrupt", "image", 784), ("denoise", "image", 784), ("encode", "code", 8)]
    {
        for (split, rows) in [("train", 600), ("test", 120)] {
            let table = table(&sandbox, &format!("runs/small/{stage}/{split}-00000-of-00001.parquet"));
            assert_eq!(table.num_rows(), rows, "{stage} {split}");
            let ids = table.column_by_name("id").expect("has ids").as_primitive::<Int64Type>();
            assert!(ids.values().iter().copied().eq(0..rows as i64), "{stage} {split}");
            let splits = table.column_by_name("split").expect("has splits").as_any_dictionary();
            assert_eq!(splits.values().as_string::<i32>().value(0), split);
            assert!(
                table
                    .column_by_name("label")
                    .expect("has labels")
                    .as_primitive::<Int64Type>()
                    .iter()
                    .all(|label| label.is_some_and(|label| (0..10).contains(&label)))
            );
            let lists = table.column_by_name(column).expect("has values").as_fixed_size_list();
            assert_eq!(lists.value_length(), len);
            assert_eq!(lists.null_count() + lists.values().null_count(), 0);
        }
    }
    // Readers of whole folders skip names that start with `_` or `.`.
    for stage in ["ingest", "corrupt", "denoise", "encode"] {
        for entry in std::fs::read_dir(sandbox.path(&format!("runs/small/{stage}"))).expect("is a folder") {
            let name = entry.expect("readable").file_name().into_string().expect("is text");
            assert!(name.ends_with(".parquet") || name.starts_with('_'), "{stage}/{name}");
        }
    }
    // The column `error` is that of the stored images.
    let clean = table(&sandbox, "runs/small/ingest/test-00000-of-00001.parquet");
    let denoised = table(&sandbox, "runs/small/denoise/test-00000-of-00001.parquet");
    let bytes = |table: &RecordBatch| -> Vec<f64> {
        let lists = table.column_by_name("image").expect("has images").as_fixed_size_list();
        lists.values().as_primitive::<UInt8Type>().values().iter().map(|&byte| f64::from(byte) / 255.0).collect()
    };
    let (clean, made) = (bytes(&clean), bytes(&denoised));
    let errors = denoised.column_by_name("error").expect("has errors").as_primitive::<Float32Type>();
    let mse = |made: &[f64], clean: &[f64]| {
        made.iter().zip(clean).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / made.len() as f64
    };
    for row in 0..120 {
        let expected = mse(&made[row * 784..][..784], &clean[row * 784..][..784]);
        assert!((f64::from(errors.value(row)) - expected).abs() < 1e-6, "row {row}");
    }
    // The score is that of all stored images.
    let metrics: Value = serde_json::from_slice(&sandbox.read("runs/small/evaluate/metrics.json")).expect("is JSON");
    assert_eq!(metrics["task"], "denoising");
    assert!((metrics["scores"][0]["mse"].as_f64().expect("is a number") - mse(&made, &clean)).abs() < 1e-7);
    assert!(metrics["scores"][0]["mse"].as_f64() < metrics["scores"][1]["mse"].as_f64());

    let page = String::from_utf8(sandbox.read("runs/small/report/report.html")).expect("is text");
    assert_eq!(page.matches("data:image/png;base64,").count(), 13);
    assert!(page.contains("<svg") && !page.contains("http"));
    sandbox.limpid("show runs/small").succeeds().prints("600 rows").prints("noisy input");
    let shown = sandbox.limpid("show runs/small --json").succeeds().stdout();
    let shown: Value = serde_json::from_str(&shown).expect("is JSON");
    assert_eq!(shown["stages"].as_array().map(Vec::len), Some(7));
}

#[test]
fn a_plain_autoencoder_has_no_noisy_images() {
    let sandbox = Sandbox::with(
        "[source]\nstrokes = { train = 300, test = 50 }\n[model]\nconv = { channels = [4, 2], code = 5 }\nloss = \"mse\"\n[training]\nepochs = 1\n",
    );
    sandbox.limpid("run small.toml").succeeds();
    assert!(!sandbox.path("runs/small/corrupt").exists());
    let metrics: Value = serde_json::from_slice(&sandbox.read("runs/small/evaluate/metrics.json")).expect("is JSON");
    assert_eq!((&metrics["task"], &metrics["scores"][0]["what"]), (&"reconstruction".into(), &"reconstruction".into()));
    sandbox.limpid("run small.toml --only corrupt").exits(2).says("has no stage \"corrupt\"");
}

#[test]
fn the_same_settings_give_the_same_bytes_on_any_number_of_threads() {
    let sandbox = Sandbox::new();
    let everything = |runs: &str| STAGES.map(|stage| sandbox.files(&format!("{runs}/small/{stage}")));
    // Three row groups of images, and batches that are split between threads, with a smaller one at the end.
    let size = "--set source.strokes.train=11000 --set training.batch-size=250 --set training.epochs=1";
    for model in [" --set output.profile=hf --set output.part-rows=999", " --set model.conv={channels=[3,2]}"] {
        let conv = format!(" {size} --set evaluate.fit-rows=500{model}");
        sandbox.limpid(&format!("run small.toml --runs one --threads 1{conv}")).succeeds();
        for threads in [2, 4] {
            sandbox.limpid(&format!("run small.toml --runs more --force --threads {threads}{conv}")).succeeds();
            for (stage, (one, more)) in STAGES.iter().zip(everything("one").into_iter().zip(everything("more"))) {
                for ((name, one), (_, more)) in one.iter().zip(&more) {
                    assert!(one == more, "{stage}/{name} differs at {threads} threads{conv}");
                }
                assert_eq!(one.len(), more.len());
            }
        }
    }
    sandbox.limpid(&format!("run small.toml --runs more {size} --set seed=2 --to ingest")).succeeds();
    assert_ne!(everything("one")[0], everything("more")[0]);
}

#[test]
fn two_runs_can_be_compared() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    sandbox.limpid("run small.toml --set name=\"other\" --set training.epochs=1").succeeds();
    sandbox
        .limpid("diff runs/small runs/other")
        .succeeds()
        .prints("training.epochs")
        .prints("denoised: psnr-pooled")
        .prints("codes: linear-accuracy");
    // `diff` reports different data as well as different settings.
    let own = "[source]\nnpy = { train = \"x.npy\", test-fraction = 0.5 }\n[model]\ndense = { code = 2 }\n";
    sandbox.write("own.toml", own.as_bytes());
    for (pixel, name) in [(1, "one"), (2, "two")] {
        sandbox.write("x.npy", &crate::own_arrays::npy("|u1", "(9, 4, 4)", &[pixel; 9 * 16]));
        sandbox.limpid(&format!("run own.toml --to ingest --set name=\"{name}\"")).succeeds();
    }
    let diff = sandbox.limpid("diff runs/one runs/two").succeeds().stdout();
    assert!(diff.contains("source.npy.train") && diff.contains("digest ") && !diff.contains("the same"), "{diff}");
    sandbox.limpid("show runs/one").succeeds().prints("source.npy.train: digest ");
    sandbox.limpid("diff runs/small runs/other --html both.html").succeeds().prints("training.epochs");
    let page = String::from_utf8(sandbox.read("both.html")).expect("is text");
    assert_eq!((page.matches("<article>").count(), page.matches("class=\"map\"").count()), (2, 2));
    assert!(page.contains("training.epochs") && !page.contains("http"));
    std::fs::remove_dir_all(sandbox.path("runs/other/report")).expect("removed");
    sandbox.limpid("diff runs/small runs/other --html both.html").exits(2).says("runs/other has no report");
    sandbox.limpid("diff runs/small runs").exits(2).says("is not a run directory");
    // `diff` ignores the settings of stages that have not run in one of the runs.
    sandbox.limpid("run small.toml --set name=\"part\" --to ingest").succeeds();
    let diff = sandbox.limpid("diff runs/small runs/part").succeeds().stdout();
    assert!(diff.contains("settings") && !diff.contains("training.epochs"), "{diff}");
    assert!(diff.lines().any(|line| line.starts_with("train ") && line.ends_with("has not run")), "{diff}");
}

#[test]
fn settings_are_told_as_the_results_were_made() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let page = sandbox.read("runs/small/report/report.html");
    let shown = |words: &str| sandbox.limpid(&format!("show runs/small {words}")).succeeds().stdout();
    let before = shown("");

    // The report and `show` use the settings of the results, not those of a later report or of a run that failed.
    sandbox.limpid("run small.toml --only report --force --set training.epochs=99 --set model.loss=mse").succeeds();
    assert!(sandbox.read("runs/small/report/report.html") == page);
    sandbox
        .limpid("run small.toml --from train --set training.learning-rate=10")
        .arg("--set=model.dense.hidden=[64,64,64,64,64,64,64,64]")
        .exits(65);
    let settings = |text: &str| text.split("settings").nth(1).expect("has settings").to_owned();
    assert_eq!(settings(&shown("")), settings(&before));

    // Results that are older than their inputs.
    assert!(!before.contains("out of date"), "{before}");
    sandbox.limpid("run small.toml --set name=\"other\"").succeeds();
    sandbox.limpid("run small.toml --to train --set seed=9").succeeds();
    let shown = shown("");
    assert!(shown.contains("seed = 9"), "{shown}");
    assert!(shown.contains("out of date: ingest/test-00000-of-00001.parquet has changed since"), "{shown}");
    assert!(shown.contains("denoising of 120 test images, out of date"), "{shown}");
    assert_eq!(shown.matches("out of date: ").count(), 4, "{shown}");
    let diff = sandbox.limpid("diff runs/small runs/other").succeeds().stdout();
    assert!(diff.lines().any(|line| line.starts_with("evaluate ") && line.contains("out of date")), "{diff}");
}

#[test]
fn help_schema_and_completions_work_anywhere() {
    let sandbox = Sandbox::with(PIPELINE);
    sandbox.limpid("--help").succeeds().prints("Exit codes");
    sandbox.limpid("--version").succeeds().prints("limpid 0.");
    let schema = sandbox.limpid("schema").succeeds().stdout();
    let schema: Value = serde_json::from_str(&schema).expect("is JSON");
    assert!(schema["properties"]["training"].is_object());
    for shell in ["bash", "zsh", "fish"] {
        sandbox.limpid(&format!("completions {shell}")).succeeds().prints("limpid");
    }
    sandbox.limpid("ruin").exits(2);
}

#[test]
fn progress_is_json_on_request() {
    let sandbox = Sandbox::new();
    let done = sandbox.limpid("run small.toml --log json").succeeds();
    let events: Vec<Value> =
        done.stderr().lines().map(|line| serde_json::from_str(line).expect("every line is JSON")).collect();
    let names: Vec<_> = events.iter().filter_map(|event| event["event"].as_str()).collect();
    assert_eq!(names.iter().filter(|name| **name == "stage-finished").count(), 7);
    assert_eq!(names.iter().filter(|name| **name == "epoch").count(), 2);
    assert!(events.iter().all(|event| event["time"].is_number()));
}

#[test]
fn a_failure_is_told_in_the_form_of_the_log() {
    let sandbox = Sandbox::with("[source]\nidx = { train = \"a.idx\", test = \"b.idx\" }\n[model]\ndense = {}\n");
    sandbox.write("a.idx", b"hello, world");
    sandbox.write("b.idx", b"hello, world");
    let told = sandbox.limpid("run small.toml --log json").exits(65).stderr();
    let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
    let last = &events[events.len() - 1];
    assert_eq!((&last["event"], &last["exit-code"]), (&"error".into(), &65.into()), "{told}");
    assert_eq!(last["message"], "the stage ingest failed");
    assert!(last["causes"][0].as_str().is_some_and(|cause| cause.contains("a.idx is not IDX")), "{told}");
    sandbox.limpid("run missing.toml --log json").exits(2).says("\"event\":\"error\"");
    // Bars are replaced by lines in a file.
    sandbox
        .limpid("run small.toml --log bar")
        .exits(65)
        .says("ingest: it has not run yet")
        .says("limpid: the stage ingest failed\n  because: ");
}

#[test]
fn a_stderr_that_cannot_be_written_to_changes_no_exit_code() {
    let sandbox = Sandbox::new();
    for (words, code) in [("run missing.toml", 2), ("run small.toml --log json --to ingest", 0)] {
        let full = File::options().write(true).open("/dev/full").expect("is there");
        let status = Command::new(env!("CARGO_BIN_EXE_limpid"))
            .args(words.split_whitespace())
            .current_dir(sandbox.path(""))
            .stderr(full)
            .stdout(Stdio::null())
            .status()
            .expect("starts");
        assert_eq!(status.code(), Some(code), "{words}");
    }
}
