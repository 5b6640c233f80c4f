//! Commands that read a run directory while a run replaces results in it.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::Sandbox;
use crate::random::number;

#[test]
fn what_is_read_while_a_run_replaces_it_is_one_generation() {
    let sandbox = Sandbox::new();
    let sets = ["--set training.epochs=1", "--set training.epochs=2"];
    let small = "--set source.strokes.train=100 --set source.strokes.test=30";
    for (runs, set) in ["one", "two"].iter().zip(sets) {
        sandbox.limpid(&format!("run small.toml {small} {set} --runs {runs}")).succeeds();
        sandbox.limpid(&format!("export {runs}/small --to {runs}-tables")).succeeds();
        sandbox.limpid(&format!("run small.toml {small} {set}")).succeeds();
    }
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for set in sets.iter().cycle() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                sandbox.limpid(&format!("run small.toml {small} {set} --from train --force")).succeeds();
            }
        });
        // Stops the runs even if an assertion fails.
        let _over = Over(&over);
        for round in 0..number("LIMPID_ROUNDS", 15) {
            sandbox.limpid(&format!("export runs/small --to tables-{round}")).succeeds();
            for stage in ["ingest", "corrupt", "encode", "denoise"] {
                let made = sandbox.files(&format!("tables-{round}/{stage}"));
                let is = |runs: &str| made == sandbox.files(&format!("{runs}-tables/{stage}"));
                assert!(is("one") || is("two"), "round {round}: {stage} is of no generation");
            }
            sandbox.limpid("show runs/small").succeeds();
            sandbox.limpid(&format!("diff runs/small one/small --html {round}.html")).succeeds();
            sandbox.limpid("encode runs/small one/small/ingest/test-00000-of-00001.parquet -o out").succeeds();
            sandbox.limpid("encode one/small runs/small/corrupt/test-00000-of-00001.parquet -o out").succeeds();
            sandbox.limpid(&format!("export runs/small --onnx {round}.onnx")).succeeds();
        }
    });
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
