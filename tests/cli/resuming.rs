//! Resuming from a finished training: when it is possible, and that the result has the same bytes.

use crate::harness::Sandbox;
use crate::reuse::plan;

/// The files of a training and of all later stages.
fn results(sandbox: &Sandbox, runs: &str) -> Vec<(String, Vec<u8>)> {
    let stages = ["train", "encode", "denoise", "evaluate", "report"];
    stages.iter().flat_map(|stage| sandbox.files(&format!("{runs}/small/{stage}"))).collect()
}

fn same_as_from_the_start(sandbox: &Sandbox, settings: &str) {
    // A new run directory, so that there is nothing to resume from.
    let runs = format!("clean {settings}").replace([' ', '='], "-");
    assert!(!sandbox.path(&runs).exists());
    sandbox.limpid(&format!("run small.toml --runs {runs} {settings}")).succeeds().says("epoch 1/");
    let (made, clean) = (results(sandbox, "runs"), results(sandbox, &runs));
    assert_eq!(made.len(), clean.len());
    for ((name, made), (_, clean)) in made.iter().zip(&clean) {
        assert!(made == clean, "{name} differs with {settings}");
    }
}

/// The planned action of the training, with its reasons.
fn planned(sandbox: &Sandbox, words: &str) -> (String, String) {
    let (_, action, reasons) = plan(sandbox, words).swap_remove(2);
    (action, reasons)
}

#[test]
fn more_epochs_go_on_where_fewer_ended() {
    let sandbox = Sandbox::new();
    // With this rate the best epoch is not always the last one.
    let settings = "--set training.learning-rate=0.03 --set training.weights=best";
    sandbox.limpid(&format!("run small.toml {settings} --set training.epochs=3")).succeeds();
    let more = format!("{settings} --set training.epochs=8");
    let (action, reasons) = planned(&sandbox, &more);
    assert_eq!(action, "resume");
    assert_eq!(reasons, "training.epochs: 3 → 8; goes on after epoch 3, from its result");
    sandbox.limpid(&format!("run small.toml {more}")).succeeds().says("epoch 4/8").never_says("epoch 3/8");
    same_as_from_the_start(&sandbox, &more);
    // Using other weights of the same training does not train again.
    let last = more.replace("=best", "=last");
    assert_eq!(planned(&sandbox, &last).0, "resume");
    sandbox.limpid(&format!("run small.toml {last}")).succeeds().never_says("train: epoch");
    same_as_from_the_start(&sandbox, &last);
}

#[test]
fn what_decides_the_steps_is_a_new_training() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    for (settings, reason) in [
        ("--set training.epochs=1", "training.epochs: 2 → 1; a new training: the finished one is beyond epoch 1"),
        (
            "--set training.epochs=3 --set model.dense.code=9",
            "model.dense.code: 8 → 9; training.epochs: 2 → 3; a new training: that decides its every step",
        ),
        ("--set training.batch-size=60", "training.batch-size: 50 → 60; a new training: that decides its every step"),
    ] {
        assert_eq!(planned(&sandbox, settings), ("run".to_owned(), reason.to_owned()));
    }
    // With the cosine schedule every step depends on the number of epochs.
    let cosine = "--set training.schedule=cosine";
    sandbox.limpid(&format!("run small.toml --runs cosine {cosine}")).succeeds();
    let expected = "training.epochs: 2 → 3; a new training: that decides its every step";
    let raised = planned(&sandbox, &format!("--runs cosine {cosine} --set training.epochs=3"));
    assert_eq!(raised, ("run".to_owned(), expected.to_owned()));
    sandbox.limpid("run small.toml --to ingest --set seed=2").succeeds();
    let (action, reasons) = planned(&sandbox, "--set training.epochs=3 --set seed=2");
    assert_eq!(action, "run");
    assert!(reasons.contains("ingest/train-00000-of-00001.parquet: digest "), "{reasons}");
    assert!(reasons.ends_with("a new training: that decides its every step"), "{reasons}");
}

#[test]
fn a_fresh_training_goes_on_from_nothing() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let settings = "--set training.epochs=3";
    assert_eq!(planned(&sandbox, &format!("{settings} --fresh")).0, "run");
    // `--fresh` affects only stages that would run anyway.
    assert_eq!(planned(&sandbox, "--fresh").0, "up-to-date");
    sandbox.limpid(&format!("run small.toml {settings} --fresh")).succeeds().says("epoch 1/3");
    same_as_from_the_start(&sandbox, settings);
    // With `--force` a result is computed again, not copied.
    sandbox.limpid(&format!("run small.toml {settings} --only train --force")).succeeds().says("epoch 1/3");

    let mut run = sandbox.limpid("run small.toml --set training.epochs=100000").spawn();
    while !sandbox.path("runs/small/.checkpoint/train").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    run.kill().expect("killed");
    run.wait().expect("gone");
    // The checkpoint of the longer training is further than the published result.
    let (action, reasons) = planned(&sandbox, "--set training.epochs=100000");
    assert_eq!(action, "resume");
    assert!(reasons.ends_with(", from its checkpoint"), "{reasons}");
    assert_eq!(planned(&sandbox, "--set training.epochs=100000 --fresh").0, "run");
    sandbox.limpid("run small.toml --set training.epochs=1 --fresh").succeeds();
    assert!(!sandbox.path("runs/small/.checkpoint/train").exists());
}

#[test]
fn a_damaged_result_is_not_gone_on_from() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let path = sandbox.path("runs/small/train/optimizer.safetensors");
    let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("has a time");
    let mut bytes = std::fs::read(&path).expect("readable");
    *bytes.last_mut().expect("is not empty") ^= 1;
    std::fs::write(&path, bytes).expect("written");
    // Damage that size or time shows, and damage that only a digest shows.
    let settings = "--set training.epochs=3";
    let (action, reasons) = planned(&sandbox, settings);
    assert_eq!(action, "run");
    assert!(reasons.contains("optimizer.safetensors has changed: digest"), "{reasons}");
    std::fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(modified)).expect("set");
    assert_eq!(planned(&sandbox, &format!("{settings} --verify")).0, "run");
    assert_eq!(planned(&sandbox, settings).0, "resume");
    sandbox
        .limpid(&format!("run small.toml {settings}"))
        .succeeds()
        .says("train: the result is not used: runs/small/train/optimizer.safetensors is not what was written")
        .says("epoch 1/3");
    same_as_from_the_start(&sandbox, settings);
}
