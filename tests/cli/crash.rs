//! Kills a run at random moments and repeats it, until it has finished.
//!
//! `LIMPID_KILLS` is the number of kills (200 for a night, a few otherwise), `LIMPID_SEED` the seed of the moments.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::harness::{STAGES_AND_EXPORT as STAGES, Sandbox, files, link};
use crate::random::{Random, number};

const SETTINGS: &str =
    "--set training.epochs=60 --set training.checkpoint-seconds=1 --set output.profile=hf --set output.part-rows=200";

/// Every result in the run directory must be a whole result of one of the reference runs.
fn expect_whole(sandbox: &Sandbox, kills: u64) {
    for stage in STAGES {
        let found = files(&sandbox.path("runs/small").join(stage)).ok();
        let of = |runs: &str| files(&sandbox.path(runs).join("small").join(stage)).ok();
        assert!(found == of("old") || found == of("new"), "{stage} is not whole after {kills} kills");
    }
}

fn copy_old_results(sandbox: &Sandbox) {
    _ = std::fs::remove_dir_all(sandbox.path("runs"));
    for stage in STAGES {
        link(&sandbox.path("old/small").join(stage), &sandbox.path("runs/small").join(stage));
    }
}

#[test]
fn a_run_that_is_killed_at_random_moments_ends_with_the_same_bytes() {
    let (wanted, seed) = (number("LIMPID_KILLS", 8), number("LIMPID_SEED", 1));
    let mut random = Random(seed);
    let sandbox = Sandbox::new();
    sandbox.limpid(&format!("run small.toml --runs old --set seed=2 {SETTINGS}")).succeeds();
    let start = Instant::now();
    sandbox.limpid(&format!("run small.toml --runs new {SETTINGS}")).succeeds();
    let whole = start.elapsed();
    let new = |stage: &str| sandbox.files(&format!("new/small/{stage}"));
    let (mut kills, mut rounds, mut resumed, mut slowest) = (0, 0, 0, Duration::ZERO);
    while kills < wanted {
        rounds += 1;
        copy_old_results(&sandbox);
        let mut finished: BTreeSet<String> = BTreeSet::new();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Meanwhile a thread reads an earlier result.
            let reader = scope.spawn(|| {
                let name = "denoise/test-00000-of-00001.parquet";
                let read = |runs: &str| std::fs::read(sandbox.path(runs).join("small").join(name)).expect("readable");
                let (old, new, mut times) = (read("old"), read("new"), 0);
                while !stop.load(Ordering::Relaxed) {
                    let found = read("runs");
                    assert!(found == old || found == new, "what is read is neither the old result nor the new one");
                    times += 1;
                }
                times
            });
            loop {
                let mut run = sandbox.limpid(&format!("run small.toml --log json {SETTINGS}")).spawn();
                let stderr = BufReader::new(run.stderr.take().expect("is piped"));
                let told = scope.spawn(|| stderr.lines().map_while(Result::ok).collect::<Vec<_>>());
                // The last rounds are not killed, so that their results can be compared.
                let moment = whole.mul_f64(random.below(1000) as f64 / 1500.0);
                let patience = if kills < wanted { moment } else { Duration::MAX };
                let start = Instant::now();
                let ended = loop {
                    match run.try_wait().expect("can be asked") {
                        Some(status) => break Some(status),
                        None if start.elapsed() >= patience => break None,
                        None => std::thread::sleep(Duration::from_millis(1)),
                    }
                };
                let mut killed = false;
                let status = ended.unwrap_or_else(|| {
                    killed = true;
                    let pid = Pid::from_child(&run);
                    let asked = Instant::now();
                    let signal = if random.below(3) == 0 { Signal::TERM } else { Signal::KILL };
                    kill_process(pid, signal).expect("is there");
                    let status = run.wait().expect("can be waited for");
                    slowest = slowest.max(asked.elapsed());
                    status
                });
                for line in told.join().expect("reads") {
                    // A kill can truncate a line.
                    let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                    let stage = event["stage"].as_str().unwrap_or_default().to_owned();
                    match event["event"].as_str() {
                        Some("stage-started") => assert!(!finished.contains(&stage), "{stage} is repeated"),
                        Some("stage-finished") => _ = finished.insert(stage),
                        _ if event["message"].as_str().is_some_and(|text| text.contains("resuming after")) => {
                            resumed += 1
                        }
                        _ => {}
                    }
                }
                kills += u64::from(killed);
                expect_whole(&sandbox, kills);
                match (status.code(), status.signal()) {
                    (Some(0), _) => break,
                    (Some(75), _) | (_, Some(9 | 15)) if killed => {}
                    _ => panic!("{status} after {kills} kills"),
                }
            }
            stop.store(true, Ordering::Relaxed);
            assert!(reader.join().expect("nothing was missing") > 0);
        });
        for stage in STAGES {
            let found = sandbox.files(&format!("runs/small/{stage}"));
            assert!(found == new(stage), "{stage} differs after {kills} kills, seed {seed}");
        }
        assert!(!sandbox.path("runs/small/.scratch").exists());
    }
    println!("kills: {kills}, runs that were killed until done: {rounds}, resumptions: {resumed}, differences: 0");
    println!("slowest end after a signal: {slowest:?}");
}
