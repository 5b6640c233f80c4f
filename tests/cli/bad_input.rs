//! Bad input: messages name the file, and exit codes show that a retry is useless.

use std::io::Write;

use crate::applying::idx;
use crate::harness::{PIPELINE, Sandbox};

/// A pipeline over two IDX files.
const IDX: &str = r#"
[source]
idx = { train = "train.idx", test = "test.idx", train-labels = "labels.idx" }
[model]
dense = { code = 4 }
[training]
epochs = 1
"#;

fn sandbox(train: &[u8], labels: &[u8], test: &[u8]) -> Sandbox {
    let sandbox = Sandbox::with(IDX);
    sandbox.write("train.idx", train);
    sandbox.write("labels.idx", labels);
    sandbox.write("test.idx", test);
    sandbox
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn any_idx_file_works_raw_or_gzip_and_is_digested() {
    let sandbox = sandbox(&gzip(&idx(&[40, 9, 7])), &idx(&[40]), &idx(&[10, 9, 7]));
    sandbox.limpid("run small.toml").succeeds();
    sandbox.limpid("plan small.toml --check").succeeds();
    let mut changed = idx(&[40, 9, 7]);
    changed[20] = 9;
    sandbox.write("train.idx", &changed);
    sandbox.limpid("plan small.toml --check").exits(10).prints("source.idx.train: digest");
    // Colour is a fourth dimension.
    sandbox.write("train.idx", &idx(&[40, 9, 9, 3]));
    sandbox.write("test.idx", &idx(&[10, 9, 9, 3]));
    sandbox.limpid("run small.toml --set model.conv={channels=[2]}").succeeds();
}

#[test]
fn what_a_file_is_read_for_decides_and_not_where_it_lies() {
    let mut test = idx(&[40, 9, 7]);
    test[20] = 9;
    let sandbox = sandbox(&idx(&[40, 9, 7]), &idx(&[40]), &test);
    sandbox.limpid("run small.toml").succeeds();
    let (train, test) = (sandbox.path("train.idx"), sandbox.path("test.idx"));

    // From another working directory.
    let (pipeline, runs) = (sandbox.path("small.toml"), sandbox.path("runs"));
    let words = format!("plan {} --runs {} --check", pipeline.display(), runs.display());
    sandbox.limpid(&words).inside("/".as_ref()).succeeds();
    std::fs::rename(&train, sandbox.path("moved.idx")).expect("renamed");
    sandbox.limpid("plan small.toml --check --set source.idx.train=moved.idx").succeeds();

    // The same files in exchanged roles, by the settings or by their names.
    let exchanged = "--set source.idx.train=test.idx --set source.idx.test=moved.idx";
    sandbox.limpid(&format!("plan small.toml --check {exchanged}")).exits(10).prints("source.idx.train: digest");
    std::fs::rename(&test, &train).and_then(|()| std::fs::rename(sandbox.path("moved.idx"), &test)).expect("renamed");
    sandbox
        .limpid("plan small.toml --check")
        .exits(10)
        .prints("source.idx.test: digest")
        .prints("source.idx.train: digest");
    let exchanged = "--set source.idx.train=test.idx --set source.idx.test=train.idx";
    sandbox.limpid(&format!("plan small.toml --check {exchanged}")).succeeds();
}

#[test]
fn files_that_no_selected_stage_reads_need_not_be_there() {
    let sandbox = sandbox(&idx(&[40, 9, 7]), &idx(&[40]), &idx(&[10, 9, 7]));
    sandbox.limpid("run small.toml").succeeds();
    std::fs::remove_file(sandbox.path("train.idx")).expect("removed");
    sandbox.limpid("run small.toml --only report --force").succeeds().never_says("out of date");
    sandbox.limpid("run small.toml --only encode --force").succeeds().never_says("out of date");
    sandbox.limpid("plan small.toml --from train --check").succeeds();
    sandbox.limpid("plan small.toml").exits(65).says("train.idx does not exist");
}

#[test]
fn damaged_files_are_bad_data() {
    let (labels, test) = (idx(&[40]), idx(&[10, 9, 7]));
    let good = idx(&[40, 9, 7]);
    let mut long = good.clone();
    long.push(0);
    let mut broken = gzip(&good);
    let end = broken.len() - 6;
    broken[end] ^= 0xff;
    for (train, expected) in [
        (&good[..good.len() - 1], "train.idx is truncated: its data end after 2519 bytes, expected 40 images of 9×7"),
        (&long, "train.idx goes on after the 40 images of 9×7"),
        (b"hello, world", "train.idx is not IDX: it starts with 68 65 6c 6c"),
        (&idx(&[40, 9]), "train.idx has 2 dimensions"),
        (&idx(&[0, 9, 7]), "train.idx holds no images"),
        (&broken, "train.idx is damaged"),
    ] {
        let sandbox = sandbox(train, &labels, &test);
        sandbox.limpid("run small.toml").exits(65).says(expected);
        assert!(!sandbox.path("runs/small/ingest").exists(), "{expected}");
    }
    let few = sandbox(&good, &idx(&[39]), &test);
    few.limpid("run small.toml").exits(65).says("labels.idx has 39 labels, but").says("train.idx has 40 images");
    let wide = sandbox(&good, &labels, &idx(&[10, 9, 8]));
    wide.limpid("run small.toml").exits(65).says("test.idx has images of 9×8, but");
    std::fs::remove_file(wide.path("test.idx")).expect("removed");
    wide.limpid("run small.toml").exits(65).says("test.idx does not exist");
}

#[test]
fn wrong_settings_are_all_reported_before_anything_is_started() {
    let sandbox = Sandbox::with(&PIPELINE.replace("epochs = 2", "epochs = 0\nbatch = 3").replace("std", "sdt"));
    sandbox
        .limpid("run small.toml --set seed=x --set model.dense.hidden=[0]")
        .exits(2)
        .says("the settings have 5 problems")
        .says("small.toml:6:14: corruption.gaussian.sdt: unknown key `sdt`; did you mean `std`?")
        .says("training.epochs: must lie between 1 and 1000000, found 0")
        .says("unknown key `batch`")
        .says("--set seed=x: seed: expected a whole number, found \"x\"")
        .says("--set model.dense.hidden=[0]:1:2: model.dense.hidden[0]: must lie between 1 and 65536, found 0");
    assert!(!sandbox.path("runs").exists());
    sandbox.limpid("run missing.toml").exits(2).says("cannot read the pipeline file missing.toml");
}

#[test]
fn a_model_that_does_not_fit_the_images_is_refused() {
    let sandbox = sandbox(&idx(&[40, 9, 7]), &idx(&[40]), &idx(&[10, 9, 7]));
    sandbox.limpid("run small.toml --set model.conv={}").exits(2).says("takes images of at least 8×8, not 9×7");
}

#[test]
fn a_training_that_diverges_stops_and_says_where() {
    let sandbox = Sandbox::new();
    let deep = "--set model.dense.hidden=[64,64,64,64,64,64,64,64] --set training.learning-rate=10";
    sandbox
        .limpid(&format!("run small.toml {deep}"))
        .exits(65)
        .says("training diverged: the loss is not finite in epoch 1, step ")
        .says("try a smaller training.learning-rate");
    assert!(!sandbox.path("runs/small/train").exists());
}

#[test]
fn mnist_that_cannot_be_had_says_what_was_tried() {
    let sandbox = Sandbox::with("[source]\nmnist = { mirrors = [\"http://127.0.0.1:9/\"] }\n[model]\ndense = {}\n");
    sandbox.limpid("run small.toml").exits(74).says("could not be downloaded (http://127.0.0.1:9/: ").says("MNIST_DIR");
    let empty = sandbox.path("empty");
    std::fs::create_dir(&empty).expect("created");
    let missing = "does not hold MNIST: train-images-idx3-ubyte[.gz] is missing";
    sandbox.limpid("run small.toml").env("MNIST_DIR", &empty).exits(65).says("(MNIST_DIR)").says(missing);
    for name in
        ["train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]
    {
        sandbox.write(&format!("empty/{name}"), &idx(&[3, 28, 28]));
    }
    let wrong = "is not MNIST's train-images-idx3-ubyte: it has 2368 bytes, expected 47040016";
    sandbox.limpid("run small.toml").env("MNIST_DIR", &empty).exits(65).says(wrong);
    // Raw and gzip are distinguished by content.
    sandbox.write("gzip/train-images-idx3-ubyte", &gzip(&idx(&[3, 28, 28])));
    sandbox.limpid("run small.toml").env("MNIST_DIR", sandbox.path("gzip")).exits(65).says(wrong);
    sandbox.write("raw/train-images-idx3-ubyte.gz", &idx(&[3, 28, 28]));
    sandbox.limpid("run small.toml").env("MNIST_DIR", sandbox.path("raw")).exits(65).says(wrong);
    // A file that cannot be opened is an I/O error, not a missing file.
    std::fs::create_dir(sandbox.path("loop")).expect("created");
    let name = "train-images-idx3-ubyte";
    std::os::unix::fs::symlink(name, sandbox.path("loop").join(name)).expect("linked");
    let unreadable = sandbox.limpid("run small.toml").env("MNIST_DIR", sandbox.path("loop")).exits(74);
    unreadable.says("cannot open ").never_says("does not hold MNIST");
    // An empty variable counts as unset.
    sandbox.limpid("run small.toml").env("MNIST_DIR", "").exits(74).says("could not be downloaded");
    // A bad file in a folder that is only searched is skipped.
    sandbox.write("MNIST_data/train-images-idx3-ubyte", b"damaged");
    sandbox.limpid("run small.toml").exits(74).says("passing over MNIST_data (").says("could not be downloaded");
}

#[test]
fn more_images_than_a_file_can_hold_are_refused_before_any_is_drawn() {
    let sandbox =
        Sandbox::with("[source]\nidx = { train = \"x.idx\", test-fraction = 0.1 }\n[model]\ndense = { code = 4 }\n");
    let mut bytes = idx(&[2, 28, 28]);
    bytes[4..8].fill(0xff);
    for bytes in [bytes.clone(), gzip(&bytes)] {
        sandbox.write("x.idx", &bytes);
        sandbox.limpid("run small.toml").exits(65).says("x.idx is truncated: ").says("4294967295 images of 28×28");
    }
}
