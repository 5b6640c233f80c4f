//! The split `validation`: where each source has it from, what every stage makes of it, and that weights and the end of a training
//! are chosen by it.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use serde_json::Value;

use crate::foreign::read;
use crate::harness::Sandbox;
use crate::inputs::tar;
use crate::own_arrays::{npy, npz};
use crate::own_images::{TEST, TRAIN, VALIDATION, images, png, sandbox};
use crate::reuse::plan;

/// Numbers of images of train, test and validation in the tables of ingest, and their pixels.
fn splits(sandbox: &Sandbox) -> [(usize, Vec<u8>); 3] {
    [TRAIN, TEST, VALIDATION].map(|path| {
        let there = sandbox.path(path).exists().then(|| images(sandbox, path));
        there.map_or((0, Vec::new()), |(ids, _, pixels)| (ids.len(), pixels))
    })
}

fn counts(sandbox: &Sandbox) -> [usize; 3] {
    splits(sandbox).map(|(count, _)| count)
}

/// An array of `count` images of 4×3 that are all of this value.
fn array(count: usize, value: u8) -> Vec<u8> {
    npy("|u1", &format!("({count}, 4, 3)"), &vec![value; 12 * count])
}

fn idx(count: u32, value: u8) -> Vec<u8> {
    let sizes = [count, 4, 3].map(u32::to_be_bytes).concat();
    [&[0, 0, 8, 3][..], &sizes, &vec![value; 12 * count as usize]].concat()
}

fn csv(count: usize, value: u8) -> Vec<u8> {
    let head: Vec<_> = (0..9).map(|at| format!("pixel{at}")).collect();
    let row = vec![value.to_string(); 9].join(",");
    format!("{}\n{}\n", head.join(","), vec![row; count].join("\n")).into_bytes()
}

fn parquet(sandbox: &Sandbox, path: &str, count: usize, seed: u32) {
    let pictures: ArrayRef = Arc::new((0..count).map(|_| Some(png(4, 4, seed))).collect::<BinaryArray>());
    sandbox.write(path, b"");
    let batch = RecordBatch::try_from_iter([("image", pictures)]).expect("fits");
    crate::foreign::write(sandbox, path, &[batch], parquet::basic::Compression::SNAPPY);
}

fn shard(count: usize, seed: u32) -> Vec<u8> {
    tar(&(0..count).map(|at| (format!("{at}.png"), png(4, 4, seed))).collect::<Vec<_>>())
}

/// Files of every kind of source for each split: 30, 6 and 4 images.
fn write_all(sandbox: &Sandbox) {
    let of = [("train", 30, 10), ("test", 6, 20), ("val", 4, 30)];
    for (name, count, seed) in of {
        sandbox.write(&format!("{name}.npy"), &array(count, seed as u8));
        sandbox.write(&format!("{name}.idx"), &idx(count as u32, seed as u8));
        sandbox.write(&format!("{name}.csv"), &csv(count, seed as u8));
        sandbox.write(&format!("{name}.tar"), &shard(count, seed));
        parquet(sandbox, &format!("tables/{name}-0.parquet"), count, seed);
        for at in 0..count {
            sandbox.write(&format!("photos/{name}/{at:02}.png"), &png(4, 4, seed));
            sandbox.write(&format!("clean/{name}/{at:02}.png"), &png(8, 8, seed));
            sandbox.write(&format!("noisy/{name}/{at:02}.png"), &png(8, 8, seed + 1));
        }
    }
    let archive = of.map(|(name, count, seed)| (format!("{name}_images"), array(count, seed as u8)));
    let archive = archive.each_ref().map(|(name, array)| (name.as_str(), array.clone()));
    sandbox.write("all.npz", &npz(&archive, zip::CompressionMethod::Deflated));
    let rows =
        of.map(|(name, count, _)| (0..count).map(|at| format!("{name}/{at:02}.png,{name}\n")).collect::<String>());
    sandbox.write("list.csv", format!("file_name,split\n{}", rows.concat()).as_bytes());
}

#[test]
fn every_source_may_have_images_for_validation() {
    let three = |kind: &str, end: &str| {
        format!("{kind} = {{ train = \"train.{end}\", test = \"test.{end}\", validation = \"val.{end}\" }}")
    };
    let archive = "path = \"all.npz\", train = \"train_images\", test = \"test_images\"";
    for source in [
        three("npy", "npy"),
        three("idx", "idx"),
        three("columns", "csv"),
        three("tar", "tar"),
        "parquet = { path = \"tables\" }".to_owned(),
        three("parquet", "parquet")
            .replace(".parquet", "-*.parquet")
            .replace("= \"t", "= \"tables/t")
            .replace("\"val", "\"tables/val"),
        format!("npz = {{ {archive} }}"),
        format!("npz = {{ {archive}, validation = \"val_images\" }}"),
        "folder = { path = \"photos\" }".to_owned(),
        "folder = { path = \"photos\", validation = \"val\" }".to_owned(),
        "folder = { path = \"photos\", csv = \"list.csv\" }".to_owned(),
        "folder = { noisy = \"noisy\", clean = \"clean\" }".to_owned(),
    ] {
        let sandbox = sandbox(&source);
        write_all(&sandbox);
        let pairs = if source.contains("noisy") { " --set training.input=noisy" } else { "" };
        sandbox.limpid(&format!("run small.toml --to ingest{pairs}")).succeeds();
        let [train, test, validation] = splits(&sandbox);
        assert_eq!([train.0, test.0, validation.0], [30, 6, 4], "{source}");
        // Each its own.
        assert!(train.1[0] != validation.1[2] && test.1 != validation.1, "{source}");
        assert_eq!(*validation.1.last().expect("has some"), 30, "{source}");
        sandbox.limpid(&format!("plan small.toml --to ingest --check{pairs}")).succeeds();
    }
    let sandbox = sandbox("npz = { path = \"all.npz\", train = \"train_images\", test = \"test_images\" }");
    write_all(&sandbox);
    sandbox.limpid("run small.toml --to ingest").succeeds().says("the array val_images of all.npz is for validation");
}

#[test]
fn a_share_of_the_images_is_drawn_for_validation() {
    for (source, test_given) in [
        ("npy = { train = \"train.npy\"", "test = \"test.npy\""),
        ("idx = { train = \"train.idx\"", "test = \"test.idx\""),
        ("columns = { train = \"train.csv\"", "test = \"test.csv\""),
        ("tar = { train = \"train.tar\"", "test = \"test.tar\""),
        ("parquet = { train = \"tables/train-0.parquet\"", "test = \"tables/test-0.parquet\""),
        ("npz = { path = \"all.npz\", train = \"train_images\"", "test = \"test_images\""),
        ("folder = { path = \"photos/train\"", ""),
    ] {
        let sandbox = sandbox(&format!("{source}, test-fraction = 0.3 }}"));
        write_all(&sandbox);
        let kind = source.split(' ').next().expect("has one");
        sandbox.limpid("run small.toml --to ingest --set seed=4").succeeds();
        let found = images(&sandbox, TEST);
        // Beside the same test images, unless the archive has its own for validation.
        let drawn = format!("--set seed=4 --set source.{kind}.validation-fraction=0.2");
        sandbox.limpid(&format!("run small.toml --to ingest {drawn}")).succeeds();
        let [train, test, validation] = counts(&sandbox);
        assert!(train + test + validation == 30 && (1..15).contains(&validation), "{source}: {:?}", counts(&sandbox));
        assert!(images(&sandbox, TEST) == found, "{source}");
        let mut ids = [TRAIN, TEST, VALIDATION].map(|path| images(&sandbox, path).0).concat();
        ids.sort_unstable();
        // A folder numbers the images of each split.
        assert!(kind == "folder" || kind == "tar" || ids == (0..30).collect::<Vec<_>>(), "{source}");
        sandbox
            .limpid(&format!("plan small.toml --to ingest --check {drawn} --set source.{kind}.validation-fraction=0.3"))
            .exits(10)
            .prints(&format!("source.{kind}.validation-fraction: 0.2 → 0.3"));
        sandbox
            .limpid(&format!("plan small.toml {drawn} --set source.{kind}.test-fraction=0.8"))
            .exits(2)
            .says(&format!("source.{kind}.validation-fraction: leaves nothing to train on beside `test-fraction`"));
        if !test_given.is_empty() {
            // Of the training images, if only these are drawn from.
            let text =
                format!("[source]\n{source}, {test_given}, validation-fraction = 0.2 }}\n[model]\ndense = {{}}\n");
            sandbox.write("given.toml", text.as_bytes());
            sandbox.limpid("run given.toml --to ingest --runs given").succeeds();
            let rows = |split: &str| {
                read(&sandbox, &format!("given/given/ingest/{split}-00000-of-00001.parquet")).0.num_rows()
            };
            assert_eq!((rows("train") + rows("validation"), rows("test")), (30, 6), "{source}");
        }
        if !matches!(kind, "folder" | "npz") {
            sandbox
                .limpid(&format!("plan small.toml {drawn} --set source.{kind}.validation=x"))
                .exits(2)
                .says(&format!("source.{kind}.validation: is given although `validation-fraction` has"));
        }
    }
}

#[test]
fn images_in_folders_of_train_and_test_are_drawn_for_validation() {
    let sandbox = sandbox("folder = { path = \"set\", validation-fraction = 0.3 }");
    for at in 0..30 {
        sandbox.write(&format!("set/train/{at:02}.png"), &png(4, 4, at));
        sandbox.write(&format!("set/test/{at:02}.png"), &png(4, 4, at));
    }
    sandbox.limpid("run small.toml --to ingest").succeeds();
    let [train, test, validation] = counts(&sandbox);
    assert!(train + validation == 30 && test == 30 && (3..20).contains(&validation), "{:?}", counts(&sandbox));
    // Images that are there for it come first.
    sandbox.write("set/val/1.png", &png(4, 4, 1));
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!(counts(&sandbox), [30, 30, 1]);
    for (setting, code, message) in [
        ("validation=dev", 65, "source.folder.validation names dev, but set has no such sub-folder with images"),
        ("validation=test", 2, "source.folder.validation: names the folder of another split"),
        ("validation-fraction=1.5", 2, "must lie between 0 and 0.999999"),
    ] {
        let set = format!("run small.toml --to ingest --set source.folder.{setting}");
        sandbox.limpid(&set).exits(code).says(message);
    }
    sandbox.write("set/empty/notes.txt", b"");
    sandbox
        .limpid("run small.toml --to ingest --set source.folder.validation=empty")
        .exits(65)
        .says("source.folder.validation names empty, but set has no such sub-folder with images");
    std::fs::remove_dir_all(sandbox.path("set/test")).expect("removed");
    // The only other split is for testing, unless it is named otherwise.
    sandbox.limpid("run small.toml --to ingest --set source.folder.validation=val").exits(65).says("none called test");
    sandbox.limpid("run small.toml --to ingest --set source.folder.validation-fraction=0").succeeds();
    assert_eq!(counts(&sandbox), [30, 1, 0]);
}

#[test]
fn metadata_in_the_folders_of_splits_say_the_labels_of_validation_too() {
    let sandbox = sandbox("folder = { path = \"set\" }");
    for (split, label) in [("train", 3), ("test", 4), ("validation", 5)] {
        sandbox.write(&format!("set/{split}/a.png"), &png(4, 4, 1));
        sandbox.write(&format!("set/{split}/metadata.csv"), format!("file_name,label\na.png,{label}\n").as_bytes());
    }
    sandbox.limpid("run small.toml --to ingest").succeeds();
    assert_eq!([TRAIN, TEST, VALIDATION].map(|path| images(&sandbox, path).1), [[Some(3)], [Some(4)], [Some(5)]]);
}

const PIPELINE: &str = r#"
[source]
strokes = { train = 300, test = 60, validation = 50 }
[corruption]
gaussian = { std = 0.5 }
[model]
dense = { hidden = [16], code = 8 }
[training]
input = "noisy"
epochs = 3
batch-size = 50
weights = "best"
[output]
profile = "hf"
"#;

fn json(sandbox: &Sandbox, path: &str) -> Value {
    serde_json::from_slice(&sandbox.read(path)).expect("is JSON")
}

/// The losses of the epochs by split; those of validation only if there are any.
fn history(sandbox: &Sandbox, runs: &str) -> Vec<(i64, f64, Option<f64>)> {
    let (batch, _) = read(sandbox, &format!("{runs}/small/train/history.parquet"));
    let losses = |name: &str| Some(batch.column_by_name(name)?.as_primitive::<Float64Type>().values().to_vec());
    let epochs = batch.column_by_name("epoch").expect("is there").as_primitive::<Int64Type>().values().to_vec();
    let (test, validation) = (losses("test_loss").expect("is there"), losses("validation_loss"));
    let validation = |at: usize| validation.as_ref().map(|losses| losses[at]);
    epochs.iter().enumerate().map(|(at, epoch)| (*epoch, test[at], validation(at))).collect()
}

#[test]
fn validation_images_go_through_every_stage() {
    let sandbox = Sandbox::with(PIPELINE);
    let done = sandbox.limpid("run small.toml --set source.strokes.validation=0 --runs without").succeeds();
    done.never_says("validation");
    sandbox.limpid("run small.toml").succeeds().says("  validation 0.");
    let name = "validation-00000-of-00001.parquet";
    for stage in ["ingest", "corrupt", "encode", "denoise"] {
        let (table, _) = read(&sandbox, &format!("runs/small/{stage}/{name}"));
        let split = arrow_cast::cast(table.column_by_name("split").expect("is there"), &arrow_schema::DataType::Utf8);
        assert!(split.expect("is text").as_string::<i32>().iter().all(|split| split == Some("validation")), "{stage}");
        assert_eq!(table.num_rows(), 50, "{stage}");
        assert!(!sandbox.path(&format!("without/small/{stage}/{name}")).exists(), "{stage}");
        // The other images, and what is made of them by the same model, do not change.
        if ["ingest", "corrupt"].contains(&stage) {
            for split in ["train", "test"] {
                let path = |runs: &str| format!("{runs}/small/{stage}/{split}-00000-of-00001.parquet");
                assert!(sandbox.read(&path("runs")) == sandbox.read(&path("without")), "{stage} {split}");
            }
        }
        assert!(sandbox.path(&format!("runs/small/export/{stage}/{name}")).exists(), "{stage}");
    }
    assert_ne!(images(&sandbox, VALIDATION).2, images(&sandbox, TEST).2);
    sandbox.limpid("export runs/small --to out").succeeds();
    assert!(sandbox.path(&format!("out/denoise/{name}")).exists() && !sandbox.path("without/out").exists());
    let (with, without) = (history(&sandbox, "runs"), history(&sandbox, "without"));
    assert!(with.iter().all(|(.., loss)| loss.is_some()) && without.iter().all(|(.., loss)| loss.is_none()));
    let test = |history: &[(i64, f64, Option<f64>)]| history.iter().map(|record| record.1).collect::<Vec<_>>();
    assert_eq!(test(&with), test(&without));
    for runs in ["runs", "without"] {
        let (validated, folder) = (runs == "runs", format!("{runs}/small"));
        let metrics = json(&sandbox, &format!("{folder}/evaluate/metrics.json"));
        assert_eq!((&metrics["split"], &metrics["images"]), (&"test".into(), &60.into()));
        assert_eq!(metrics["training"].is_object(), validated);
        let page = String::from_utf8(sandbox.read(&format!("{folder}/report/report.html"))).expect("is text");
        assert_eq!(page.contains("<polyline class=\"validation\""), validated);
        let receipt = json(&sandbox, &format!("{folder}/train/_receipt.json"));
        assert_eq!(receipt["details"]["chosen-by"].is_string(), validated, "{receipt}");
        let shown = sandbox.limpid(&format!("show {folder}")).succeeds();
        assert_eq!(shown.stdout().contains("the lowest validation loss is that of epoch"), validated, "{shown}");
    }
    sandbox.limpid("plan small.toml --check").succeeds();
    // A table of validation images that has gone is made again.
    std::fs::remove_file(sandbox.path(VALIDATION)).expect("removed");
    sandbox.limpid("plan small.toml --check").exits(10).prints("validation-00000-of-00001.parquet is missing");
    sandbox.limpid("run small.toml").succeeds().says("train: up to date");
    assert_eq!(images(&sandbox, VALIDATION).0.len(), 50);
    // Held-out classes do not choose weights either.
    sandbox.limpid("run small.toml --to ingest --set source.hold-out=[3]").succeeds();
    let has = |path: &str| images(&sandbox, path).1.contains(&Some(3));
    assert!(!has(TRAIN) && has(TEST) && !has(VALIDATION));
}

#[test]
fn weights_are_chosen_by_the_validation_split_alone() {
    // The second archive has other test images, on which another epoch is the best.
    let sandbox = sandbox("npz = { path = \"a.npz\" }");
    let noise =
        |count: usize, from: usize| -> Vec<u8> { (from..from + 16 * count).map(|at| (at * at % 251) as u8).collect() };
    let array = |bytes: &[u8]| npy("|u1", &format!("({}, 4, 4)", bytes.len() / 16), bytes);
    for (name, test) in [("a", noise(20, 7)), ("b", vec![255; 160])] {
        let arrays = [("x_train", array(&noise(60, 0))), ("x_test", array(&test)), ("x_val", array(&noise(20, 5000)))];
        sandbox.write(&format!("{name}.npz"), &npz(&arrays, zip::CompressionMethod::Stored));
    }
    let settings = "--set training.epochs=12 --set training.learning-rate=0.05 --set training.weights=best \
                    --set training.batch-size=20 --to train";
    let best_of =
        |losses: Vec<f64>| (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).expect("has some");
    let mut found = Vec::new();
    for name in ["a", "b"] {
        let runs = format!("of-{name}");
        sandbox.limpid(&format!("run small.toml {settings} --runs {runs} --set source.npz.path={name}.npz")).succeeds();
        let history = history(&sandbox, &runs);
        let best = best_of(history.iter().map(|record| record.2.expect("is validated")).collect());
        let receipt = json(&sandbox, &format!("{runs}/small/train/_receipt.json"));
        assert_eq!(receipt["details"]["best-epoch"], best + 1);
        let of_test = best_of(history.iter().map(|record| record.1).collect());
        found.push((best, of_test, sandbox.read(&format!("{runs}/small/train/best.safetensors"))));
    }
    let [(best, of_test, weights), (other_best, of_other_test, other_weights)] = &found[..] else { panic!("two runs") };
    assert!(weights == other_weights && best == other_best);
    assert!(of_test != best || of_other_test != best, "both splits agree, which shows nothing");
}

/// The settings of a training that ends before its last epoch.
const PATIENT: &str = "--set training.learning-rate=0.1 --set training.epochs=60 --set training.checkpoint-seconds=0";

#[test]
fn a_training_ends_when_patience_does_and_resumes_to_the_same_bytes() {
    let sandbox = Sandbox::with(PIPELINE);
    let patient = |patience: u32| format!("run small.toml {PATIENT} --set training.patience={patience}");
    let run = format!("{} --to evaluate", patient(2));
    let done = sandbox.limpid(&format!("{run} --runs whole")).succeeds();
    let epochs = history(&sandbox, "whole").len();
    assert!((3..60).contains(&epochs), "{epochs} epochs");
    let said = format!("train: ended after epoch {epochs} of 60: the validation loss has not fallen below ");
    let done = done.says(&said).says(&format!(", that of epoch {}, for 2 epochs", epochs - 2));
    assert_eq!(done.stderr().matches("ended after epoch").count(), 1);
    let details = json(&sandbox, "whole/small/train/_receipt.json")["details"].clone();
    assert_eq!((&details["epochs"], &details["best-epoch"]), (&epochs.into(), &(epochs - 2).into()));
    let course = json(&sandbox, "whole/small/evaluate/metrics.json")["training"].clone();
    let expected = serde_json::json!({ "epochs": epochs, "best-epoch": epochs - 2, "chosen-by": "validation" });
    assert_eq!(course, expected);
    let whole = sandbox.files("whole/small/train");
    // So many epochs without patience are the same training.
    let plain = format!("run small.toml {PATIENT} --to train --runs plain --set training.epochs={epochs}");
    sandbox.limpid(&plain).succeeds().never_says("ended after epoch");
    for name in ["last.safetensors", "best.safetensors", "history.parquet", "optimizer.safetensors"] {
        assert!(
            sandbox.read(&format!("plain/small/train/{name}")) == sandbox.read(&format!("whole/small/train/{name}"))
        );
    }
    // Killed before each checkpoint: in the middle of epochs, after them, and when all are done.
    let step = " → runs/small/.checkpoint/train";
    let traced = sandbox.limpid(&run).env("LIMPID_FAILPOINT", "trace").succeeds().stderr();
    let saved = traced.lines().filter(|line| line.starts_with("step: ") && line.ends_with(step)).count();
    // Steps of an epoch, and its end.
    assert_eq!(saved, 7 * epochs, "{saved} checkpoints");
    let mut kills = 0;
    for at in (2..=saved).step_by(5).chain([saved]) {
        std::fs::remove_dir_all(sandbox.path("runs")).expect("removed");
        sandbox.limpid(&run).env("LIMPID_FAILPOINT", format!("{step}:{at}:kill")).ends();
        assert!(!sandbox.path("runs/small/train").exists());
        sandbox.limpid(&run).succeeds().says("train: resuming after").says(&said);
        assert!(sandbox.files("runs/small/train") == whole, "killed before checkpoint {at}");
        kills += 1;
    }
    // And after the last one.
    std::fs::remove_dir_all(sandbox.path("runs")).expect("removed");
    let publishing = "create folder runs/small/.scratch/train:1:kill";
    sandbox.limpid(&run).env("LIMPID_FAILPOINT", publishing).ends();
    sandbox.limpid(&run).succeeds();
    assert!(kills > 4 && sandbox.files("runs/small/train") == whole);
}

/// The planned action of the training, with its reasons.
fn planned(sandbox: &Sandbox, words: &str) -> (String, String) {
    let (_, action, reasons) = plan(sandbox, words).swap_remove(2);
    (action, reasons)
}

#[test]
fn more_patience_and_more_epochs_go_on_where_a_training_ended() {
    let sandbox = Sandbox::with(PIPELINE);
    let set = |patience: u32, epochs: u32| {
        format!("{PATIENT} --set training.patience={patience} --set training.epochs={epochs}")
    };
    sandbox.limpid(&format!("run small.toml {}", set(1, 40))).succeeds();
    let epochs = history(&sandbox, "runs").len();
    assert!(epochs < 20, "{epochs} epochs");
    sandbox.limpid(&format!("plan small.toml --check {}", set(1, 40))).succeeds();
    // It would end at the same place with more epochs.
    let (action, reasons) = planned(&sandbox, &set(1, 50));
    assert_eq!(action, "resume");
    assert_eq!(reasons, format!("training.epochs: 40 → 50; goes on after epoch {epochs}, from its result"));
    let before = sandbox.files("runs/small/train");
    sandbox.limpid(&format!("run small.toml {}", set(1, 50))).succeeds().never_says("train: epoch").says("ended after");
    assert!(sandbox.files("runs/small/train") == before);
    let (action, reasons) = planned(&sandbox, &set(3, 50));
    assert_eq!((action.as_str(), reasons.contains("training.patience: 1 → 3; goes on after epoch")), ("resume", true));
    sandbox.limpid(&format!("run small.toml {}", set(3, 50))).succeeds().never_says("epoch 1/50");
    sandbox.limpid(&format!("run small.toml --runs clean {}", set(3, 50))).succeeds().says("epoch 1/50");
    for stage in ["train", "encode", "denoise", "evaluate", "report"] {
        let files = |runs: &str| sandbox.files(&format!("{runs}/small/{stage}"));
        assert!(files("runs") == files("clean"), "{stage}");
    }
    let more = history(&sandbox, "runs").len();
    assert!(more > epochs, "{more} epochs");
    // Less patience would have ended it before.
    let (action, reasons) = planned(&sandbox, &set(1, 50));
    let expected = format!("training.patience: 3 → 1; a new training: the finished one is beyond epoch {epochs}");
    assert_eq!((action.as_str(), reasons), ("run", expected));
    // Without a validation split, the test loss is gone by.
    let tested = format!("run small.toml --runs tested --set source.strokes.validation=0 {}", set(1, 40));
    sandbox.limpid(&tested).succeeds().says("the test loss has not fallen below");
    let page = String::from_utf8(sandbox.read("tested/small/report/report.html")).expect("is text");
    assert!(page.contains("the lowest test loss is that of epoch"), "{page}");
    sandbox.limpid("plan small.toml --set training.patience=0").exits(2).says("training.patience: must lie between 1");
}
