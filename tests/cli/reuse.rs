//! Which stages run again, and why.

use std::io::BufRead;

use serde_json::{Value, json};

use crate::harness::Sandbox;

/// The actions of the plan, by stage, with their reasons.
pub fn plan(sandbox: &Sandbox, words: &str) -> Vec<(String, String, String)> {
    let text = sandbox.limpid(&format!("plan small.toml --json {words}")).succeeds().stdout();
    let plans: Vec<Value> = serde_json::from_str(&text).expect("is JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let reasons =
        |plan: &Value| plan["reasons"].as_array().expect("is a list").iter().map(text).collect::<Vec<_>>().join("; ");
    plans.iter().map(|plan| (text(&plan["stage"]), text(&plan["action"]), reasons(plan))).collect()
}

fn running(sandbox: &Sandbox, words: &str) -> Vec<String> {
    plan(sandbox, words).into_iter().filter(|(_, action, _)| action != "up-to-date").map(|(stage, ..)| stage).collect()
}

#[test]
fn a_seed_counts_only_where_something_is_drawn() {
    let sandbox = Sandbox::new();
    let blurred = "--set corruption.blur.std=1";
    sandbox.limpid(&format!("run small.toml {blurred} --to corrupt")).succeeds();
    sandbox.limpid(&format!("run small.toml {blurred} --to corrupt --runs other --set seed=5")).succeeds();
    let fingerprint = |runs: &str| {
        let receipt = sandbox.read(&format!("{runs}/small/corrupt/_receipt.json"));
        serde_json::from_slice::<Value>(&receipt).expect("is JSON")["parts"]["settings"].clone()
    };
    assert_eq!(fingerprint("runs"), fingerprint("other"));
    // Digits are drawn, and so is noise.
    let stages = ["ingest", "corrupt", "train", "encode", "denoise", "evaluate", "report"];
    assert_eq!(running(&sandbox, &format!("{blurred} --set seed=5")), stages);
    sandbox.limpid("run small.toml --runs noisy --to corrupt").succeeds();
    assert_eq!(plan(&sandbox, "--runs noisy --to corrupt --set seed=5")[1].2, "seed: 1 → 5; ingest runs first");
}

#[test]
fn a_second_run_skips_every_stage() {
    let sandbox = Sandbox::new();
    sandbox.limpid("plan small.toml --check").exits(10).says("there is work to do: ingest, corrupt");
    sandbox.limpid("plan small.toml --check").exits_unread(10);
    sandbox.limpid("run small.toml").succeeds();
    sandbox.limpid("run small.toml").succeeds().says("report: up to date").never_says("done in");
    sandbox.limpid("plan small.toml --check").succeeds();
}

#[test]
fn a_changed_setting_runs_what_depends_on_it_and_is_named() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let downstream = ["corrupt", "train", "encode", "denoise", "evaluate", "report"];
    assert_eq!(running(&sandbox, "--set corruption.gaussian.std=0.25"), downstream);
    let (_, _, reasons) = &plan(&sandbox, "--set corruption.gaussian.std=0.25")[1];
    assert_eq!(reasons, "corruption.gaussian.std: 0.5 → 0.25");
    let text = sandbox.limpid("plan small.toml --json --set corruption.gaussian.std=0.25").succeeds().stdout();
    let plans: Value = serde_json::from_str(&text).expect("is JSON");
    let change = json!({ "kind": "setting", "key": "corruption.gaussian.std", "old": 0.5, "new": 0.25 });
    assert_eq!(plans[1]["changes"], json!([change]));
    assert_eq!(plans[4]["waits-for"], json!(["corrupt", "train"]));
    assert_eq!(running(&sandbox, "--set training.epochs=3"), ["train", "encode", "denoise", "evaluate", "report"]);
    assert_eq!(running(&sandbox, "--set encode.input=noisy"), ["encode", "evaluate", "report"]);
    // The interval of checkpoints affects no result.
    assert_eq!(running(&sandbox, "--set training.checkpoint-seconds=5"), [""; 0]);
    // A setting that did not change the model still changes the report, which lists it.
    sandbox.limpid("run small.toml --to train --set training.memory-mib=99").succeeds();
    assert_eq!(running(&sandbox, "--set training.memory-mib=99"), ["report"]);
    sandbox
        .limpid("run small.toml --set training.epochs=1")
        .succeeds()
        .says("corrupt: up to date")
        .says("train: done in");
}

#[test]
fn damage_is_noticed_and_repaired_without_repeating_what_follows() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let name = "runs/small/ingest/train-00000-of-00001.parquet";
    let whole = sandbox.read(name);

    std::fs::remove_file(sandbox.path(name)).expect("removed");
    assert_eq!(running(&sandbox, ""), ["ingest"]);
    assert!(plan(&sandbox, "")[0].2.ends_with("train-00000-of-00001.parquet is missing"));
    sandbox.limpid("run small.toml").succeeds().says("ingest: done in").says("train: up to date");
    assert_eq!(sandbox.read(name), whole);

    sandbox.write(name, &whole[..whole.len() / 2]);
    assert!(plan(&sandbox, "")[0].2.contains(&format!("{} were written", whole.len())));
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    sandbox.write(name, &flipped);
    assert!(plan(&sandbox, "")[0].2.contains("has changed: digest"));
    // Damaged results are not used.
    sandbox.limpid("run small.toml --only train --force").exits(65).says("the result of ingest is damaged");
    sandbox.limpid("run small.toml").succeeds();
    assert_eq!(sandbox.read(name), whole);

    std::fs::write(sandbox.path("runs/small/train/_receipt.json"), "{").expect("written");
    assert_eq!(running(&sandbox, "")[0], "train");
}

#[test]
fn damage_that_only_a_digest_shows_is_refused_on_request() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let path = sandbox.path("runs/small/ingest/train-00000-of-00001.parquet");
    let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("has a time");
    let mut flipped = std::fs::read(&path).expect("readable");
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    std::fs::write(&path, flipped).expect("written");
    std::fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(modified)).expect("set");
    for command in ["run", "plan"] {
        sandbox
            .limpid(&format!("{command} small.toml --only encode --force --verify"))
            .exits(65)
            .says("the result of ingest is damaged");
    }
    assert_eq!(running(&sandbox, "--verify"), ["ingest"]);
}

#[test]
fn stages_can_be_selected() {
    let sandbox = Sandbox::new();
    for command in ["run small.toml --only encode", "plan small.toml --only encode --check"] {
        sandbox.limpid(command).exits(2).says("encode needs the result of ingest, which has not run");
    }
    sandbox.limpid("run small.toml --only bake").exits(2);
    sandbox.limpid("run small.toml --set model.conv={channels=[2,2,2,2,2,2]}").exits(2).says("halved only 5 times");
    assert!(!sandbox.path("runs").exists(), "nothing is started");
    for stage in ["ingest", "train"] {
        sandbox.limpid(&format!("run small.toml --runs clean --only {stage}")).succeeds();
    }
    let message = "denoise needs the result of corrupt, which has not run";
    sandbox.limpid("run small.toml --runs clean --from encode").exits(2).says(message);
    sandbox.limpid("run small.toml --to corrupt").succeeds();
    assert!(!sandbox.path("runs/small/train").exists());
    sandbox.limpid("run small.toml --from train --to encode").succeeds().says("encode: done").never_says("denoise");
    sandbox.limpid("run small.toml --only encode").succeeds().says("encode: up to date");
    sandbox.limpid("run small.toml --only encode --force").succeeds().says("encode: forced");
    sandbox.limpid("run small.toml --from report --to train").exits(2).says("--from report comes after --to train");
    sandbox.limpid("run small.toml --only bake").exits(2).says("this pipeline has no stage \"bake\"; it has ingest");
    sandbox
        .limpid("run small.toml --only encode --set training.epochs=1 --force")
        .succeeds()
        .says("train is out of date");
}

#[test]
fn what_a_killed_run_leaves_is_removed_and_an_earlier_result_stays() {
    let sandbox = Sandbox::new();
    sandbox.limpid("run small.toml").succeeds();
    let before = sandbox.files("runs/small/denoise");
    sandbox.write("runs/small/.scratch/train/half-written", b"x");
    sandbox
        .limpid("run small.toml --set training.learning-rate=10 --set model.dense.hidden=[64,64,64,64,64,64,64,64]")
        .exits(65);
    assert_eq!(sandbox.files("runs/small/denoise"), before);
    assert!(!sandbox.path("runs/small/.scratch").exists());
}

#[test]
fn a_second_writer_waits_or_says_for_whom() {
    let sandbox = Sandbox::new();
    let mut first = sandbox.limpid("run small.toml --set training.epochs=400").spawn();
    while !sandbox.path("runs/small/corrupt").exists() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = first.id();
    sandbox.limpid("run small.toml --lock-timeout 0s").exits(75).says(&format!("in use by process {pid} on "));
    // Reading needs no lock.
    sandbox.limpid("show runs/small").succeeds();
    first.kill().expect("killed");
    first.wait().expect("gone");
    sandbox.limpid("run small.toml --lock-timeout 30s").succeeds();
}

#[test]
fn killed_and_resumed_equals_uninterrupted() {
    let sandbox = Sandbox::new();
    let settings = "--set training.epochs=30";
    sandbox.limpid(&format!("run small.toml --runs whole {settings}")).succeeds();
    for signal in ["TERM", "KILL"] {
        let mut run = sandbox.limpid(&format!("run small.toml --runs {signal} {settings}")).spawn();
        while !sandbox.path(&format!("{signal}/small/.checkpoint/train")).exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let pid = run.id().to_string();
        std::process::Command::new("kill").args(["-s", signal, &pid]).status().expect("kills");
        let status = run.wait().expect("gone");
        if signal == "TERM" && status.code() != Some(0) {
            assert_eq!(status.code(), Some(75));
        }
        let done = sandbox.limpid(&format!("run small.toml --runs {signal} {settings}")).succeeds();
        assert!(done.stderr().contains("resuming after") || status.code() == Some(0), "{done}");
        for stage in ["train", "encode", "denoise", "evaluate"] {
            let (whole, resumed) = (format!("whole/small/{stage}"), format!("{signal}/small/{stage}"));
            assert!(sandbox.files(&whole) == sandbox.files(&resumed), "{stage} differs after {signal}");
        }
    }
}

/// Starts a long training and ends it with SIGTERM after its third epoch.
fn interrupted() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut run = sandbox.limpid("run small.toml --set training.epochs=100000").spawn();
    // Kept open, since the run prints to stderr until it ends.
    let mut lines = std::io::BufReader::new(run.stderr.take().expect("is piped")).lines();
    assert!(lines.any(|line| line.expect("is text").contains("train: epoch 3/")));
    std::process::Command::new("kill").args(["-s", "TERM", &run.id().to_string()]).status().expect("kills");
    assert_eq!(run.wait().expect("gone").code(), Some(75));
    sandbox
}

#[test]
fn a_plan_says_resume_only_if_the_run_will() {
    let sandbox = interrupted();
    let action = |words: &str| plan(&sandbox, words)[2].1.clone();
    assert_eq!(action("--set training.epochs=100000"), "resume");
    assert_eq!(action("--set training.epochs=99999"), "resume");
    assert_eq!(action("--set training.epochs=2"), "run");
    assert_eq!(action("--set training.learning-rate=1e-4"), "run");
    sandbox
        .limpid("run small.toml --only train --set training.learning-rate=1e-4 --set training.epochs=1")
        .succeeds()
        .says("its checkpoint is not used: it belongs to another training (training.learning-rate: 0.001 → 0.0001)");
    sandbox.write("runs/small/.checkpoint/train", b"x");
    let (_, action, reasons) = &plan(&sandbox, "--set training.epochs=9")[2];
    assert_eq!(action, "run");
    assert!(reasons.ends_with("its checkpoint is not used: it is damaged"), "{reasons}");
}

#[test]
fn a_checkpoint_beyond_the_last_epoch_is_not_used() {
    let sandbox = interrupted();
    let settings = "--set training.epochs=1";
    sandbox
        .limpid(&format!("run small.toml {settings}"))
        .succeeds()
        .says("its checkpoint is not used: it is beyond epoch 1, with which the training ends");
    sandbox.limpid(&format!("run small.toml --runs clean {settings}")).succeeds();
    assert!(sandbox.files("runs/small/train") == sandbox.files("clean/small/train"));
}
