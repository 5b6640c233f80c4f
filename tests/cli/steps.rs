//! Kills and disk faults at every step that changes something on disk.
//!
//! A step is a system call that changes a file or folder; see `store/failpoint.rs`. In a small run directory, a few stages have
//! results of the new settings and the others of the old ones, so that one stage runs and replaces an earlier result. Kills
//! and faults strike at a sample of the steps, or at all of them if `LIMPID_STEPS` is `all`.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use crate::harness::{Run, STAGES_AND_EXPORT as STAGES, Sandbox, files, link};

/// The pipeline of the runs, with a checkpoint after every step of the training.
pub const PIPELINE: &str = r#"
name = "small"
[source]
strokes = { train = 200, test = 40 }
[corruption]
gaussian = { std = 0.5 }
[model]
dense = { hidden = [], code = 4 }
[training]
input = "noisy"
epochs = 2
batch-size = 100
checkpoint-seconds = 0
[output]
profile = "hf"
part-rows = 150
"#;

/// The state of a stage's folder before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Empty,
    /// It holds the result of other settings.
    Taken,
    /// The same, on a file system without atomic exchange of two names.
    TakenWithoutExchange,
}

impl Place {
    const ALL: [Self; 3] = [Self::Empty, Self::Taken, Self::TakenWithoutExchange];

    /// Adds the failpoint of this state before another one, which therefore counts the failing steps too.
    fn with(self, failpoint: &str) -> String {
        match self {
            Self::Empty | Self::Taken => failpoint.to_owned(),
            Self::TakenWithoutExchange => format!("{failpoint},exchange:1+:EINVAL"),
        }
    }
}

/// A stage to be run.
pub struct Bench {
    pub sandbox: Sandbox,
    pub stage: usize,
    pub place: Place,
}

impl Bench {
    pub fn new() -> Self {
        let sandbox = Sandbox::with(PIPELINE);
        sandbox.limpid("run small.toml --runs new").succeeds();
        sandbox.limpid("run small.toml --runs old --set seed=2").succeeds();
        Self { sandbox, stage: 0, place: Place::Empty }
    }

    pub fn name(&self) -> &'static str {
        STAGES[self.stage]
    }

    fn path(&self, stage: &str) -> PathBuf {
        self.sandbox.path("runs/small").join(stage)
    }

    /// Resets the run directory: stages before this one have new results, this one and later ones old results or none. Files are
    /// links, since limpid never changes a file in place.
    pub fn reset(&self) {
        _ = std::fs::remove_dir_all(self.sandbox.path("runs"));
        for (index, stage) in STAGES.iter().enumerate() {
            let from = match (index < self.stage, self.place) {
                (true, _) => "new/small",
                (false, Place::Empty) => continue,
                (false, _) => "old/small",
            };
            link(&self.sandbox.path(from).join(stage), &self.path(stage));
        }
        if self.stage > 0 || self.place != Place::Empty {
            std::fs::copy(self.sandbox.path("old/small/pipeline.json"), self.path("pipeline.json")).expect("copied");
        }
    }

    /// The command that runs the stage.
    pub fn run(&self, failpoint: &str) -> Run {
        let words = format!("run small.toml --threads 1 --to {}", self.name());
        let run = self.sandbox.limpid(&words);
        if failpoint.is_empty() { run } else { run.env("LIMPID_FAILPOINT", self.place.with(failpoint)) }
    }

    /// The steps that the command takes.
    pub fn steps(&self) -> Vec<String> {
        self.reset();
        steps(&self.run("trace").succeeds().stderr())
    }

    /// Every published result must be whole: those before the stage new, its own old or new, those after it old.
    pub fn expect_whole(&self, what: &str) {
        for (index, stage) in STAGES.iter().enumerate() {
            let found = files(&self.path(stage)).ok();
            let whole = |runs: &str| files(&self.sandbox.path(runs).join("small").join(stage)).ok();
            let earlier = if self.place == Place::Empty { None } else { whole("old") };
            let aside = self.path(".scratch").join(format!("{stage}.old")).exists();
            let right = match index.cmp(&self.stage) {
                std::cmp::Ordering::Less => found == whole("new"),
                std::cmp::Ordering::Equal => found == earlier || found == whole("new") || (found.is_none() && aside),
                std::cmp::Ordering::Greater => found == earlier,
            };
            assert!(right, "{stage} is neither its old result nor the new one after {what}");
            let receipt = self.path(stage).join("_receipt.json").exists();
            assert_eq!(receipt, found.is_some(), "{stage} has a receipt exactly if it has a result, after {what}");
        }
        if self.path("pipeline.json").exists() {
            self.sandbox.limpid("show runs/small").succeeds().never_says("damaged");
        }
    }

    /// Temporary files that a run leaves.
    fn leavings(&self) -> Vec<PathBuf> {
        let names = |folder: &Path| -> Vec<PathBuf> {
            std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.expect("readable").path()).collect()
        };
        let root = self.sandbox.path("runs/small");
        let all = [names(&root), names(&root.join(".checkpoint"))].concat();
        let ends = [".scratch", ".new", ".old"];
        all.into_iter().filter(|path| ends.iter().any(|end| path.to_string_lossy().ends_with(end))).collect()
    }

    /// Runs the command again, without a fault, and checks everything.
    pub fn expect_repaired(&self, published: bool, what: &str) -> String {
        let done = self.run("").succeeds();
        for stage in &STAGES[..self.stage] {
            assert!(
                done.stderr().contains(&format!("{stage}: up to date")),
                "{stage} is repeated after {what}\n{done}"
            );
        }
        let repeated = done.stderr().contains(&format!("{}: done in", self.name()));
        assert!(!(published && repeated), "{} is repeated after {what}\n{done}", self.name());
        self.expect_whole(what);
        let whole = self.sandbox.files(&format!("new/small/{}", self.name()));
        assert!(files(&self.path(self.name())).expect("is there") == whole, "{} differs after {what}", self.name());
        assert_eq!(self.leavings(), [""; 0].map(PathBuf::from), "after {what}");
        done.stderr()
    }
}

/// The steps that a command printed to stderr.
pub fn steps(told: &str) -> Vec<String> {
    told.lines().filter_map(|line| line.strip_prefix("step: ")).map(str::to_owned).collect()
}

/// Calls `at` with every stage, place and step of a sample.
pub fn at_every_step(sparse: usize, mut at: impl FnMut(&Bench, &[String], usize)) {
    let all = std::env::var("LIMPID_STEPS").is_ok_and(|steps| steps == "all");
    let mut bench = Bench::new();
    let mut count = 0;
    for stage in 0..STAGES.len() {
        for place in Place::ALL {
            (bench.stage, bench.place) = (stage, place);
            let steps = bench.steps();
            for index in 0..steps.len() {
                count += 1;
                if all || count % sparse == 0 {
                    at(&bench, &steps, index);
                }
            }
        }
    }
}

/// Whether, after these steps, the new result is in place, or will be by the next run.
fn is_published(bench: &Bench, before: &[String]) -> bool {
    let stage = bench.name();
    let (into, aside) = (format!("/{stage} → runs/small/{stage}"), format!(" runs/small/{stage} → "));
    before.iter().any(|step| match bench.place {
        Place::TakenWithoutExchange => step.contains(&aside),
        _ => step.ends_with(&into),
    })
}

#[test]
fn a_kill_at_any_step_loses_nothing() {
    let (mut kills, mut resumed) = (0, 0);
    at_every_step(13, |bench, steps, index| {
        bench.reset();
        let what =
            format!("a kill before `{}` of {} in a place that was {:?}", steps[index], bench.name(), bench.place);
        let done = bench.run(&format!(":{}:kill", index + 1)).ends();
        assert_eq!(done.status().signal(), Some(9), "{what}\n{done}");
        bench.expect_whole(&what);
        let told = bench.expect_repaired(is_published(bench, &steps[..index]), &what);
        let saved = steps[..index].iter().any(|step| step.ends_with(" → runs/small/.checkpoint/train"));
        let again = told.contains("train: resuming after");
        assert_eq!(again, saved && bench.name() == "train" && told.contains("train: done in"), "{what}\n{told}");
        kills += 1;
        resumed += u32::from(again);
    });
    println!("kills at steps: {kills}, resumptions: {resumed}, differences: 0");
    assert!(kills > 30 && resumed > 0);
}

#[test]
fn a_disk_that_fails_at_any_step_keeps_the_last_good_result() {
    let errors =
        [("ENOSPC", "No space left on device"), ("EIO", "Input/output error"), ("EROFS", "Read-only file system")];
    let mut faults = 0;
    at_every_step(19, |bench, steps, index| {
        // Once, like a transient error, or from then on, like a full disk.
        for lasting in ["", "+"] {
            let (errno, message) = errors[faults % errors.len()];
            let step = &steps[index];
            let what = format!("{errno}{lasting} at `{step}` of {}, whose place was {:?}", bench.name(), bench.place);
            bench.reset();
            let done = bench.run(&format!(":{}{lasting}:{errno}", index + 1)).ends();
            // Failing to remove a file does not fail the run.
            let removing = step.starts_with("remove");
            match done.status().code() {
                Some(0) => assert!(removing, "{what}\n{done}"),
                code => {
                    assert_eq!(code, Some(74), "{what}\n{done}");
                    assert!(done.stderr().contains(message), "{what}\n{done}");
                    let named = |path: &str| done.stderr().contains(path);
                    let path = step.split_once("runs/").map_or("", |(_, rest)| rest);
                    assert!(removing || path.split(" → runs/").any(named), "the path is missing: {what}\n{done}");
                }
            }
            bench.expect_whole(&what);
            if lasting.is_empty() && !removing {
                assert_eq!(bench.leavings(), [""; 0].map(PathBuf::from), "{what}");
            }
            bench.expect_repaired(false, &what);
            faults += 1;
        }
    });
    println!("faults at steps: {faults}");
    assert!(faults > 50);
}

/// Changes that are not synced can be lost in a power cut: nothing may be renamed before it is synced, nothing that is replaced
/// may be removed before `root` is synced, and at the end only files in `scratch` may be unsynced.
pub fn expect_durable(steps: &[String], root: &str, scratch: &str) {
    // Files with unsynced content, and folders with unsynced entries.
    let mut volatile: BTreeSet<PathBuf> = BTreeSet::new();
    let parent = |path: &Path| {
        let parent = path.parent().expect("has a parent");
        if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() }
    };
    for step in steps {
        let words = ["sync folder", "create folder", "remove folder"].into_iter().find(|words| step.starts_with(words));
        let (operation, paths) = step.split_at(words.map_or_else(|| step.find(' ').expect("has a path"), str::len));
        let paths: Vec<&Path> = paths.trim().split(" → ").map(Path::new).collect();
        match operation {
            "open" => {}
            "create" => volatile.extend([paths[0].to_owned(), parent(paths[0])]),
            "create folder" => _ = volatile.insert(parent(paths[0])),
            "write" => _ = volatile.insert(paths[0].to_owned()),
            "sync" | "sync folder" => _ = volatile.remove(paths[0]),
            "exchange" | "rename" => {
                let lost = volatile.iter().find(|path| path.starts_with(paths[0]));
                assert_eq!(lost, None, "is not on disk at `{step}`");
                volatile.insert(parent(paths[1]));
            }
            "remove" | "remove folder" => {
                assert!(!volatile.contains(Path::new(root)), "the new result is not on disk at `{step}`");
                volatile.retain(|path| !path.starts_with(paths[0]));
            }
            _ => panic!("unknown step {step}"),
        }
    }
    let lost = volatile.iter().find(|path| !path.starts_with(scratch));
    assert_eq!(lost, None, "is not on disk when all is done");
}

#[test]
fn nothing_counts_before_it_is_on_disk() {
    let mut bench = Bench::new();
    for stage in 0..STAGES.len() {
        for place in Place::ALL {
            (bench.stage, bench.place) = (stage, place);
            let steps = bench.steps();
            expect_durable(&steps, "runs/small", "runs/small/.scratch");
            assert!(steps.len() > 10);
        }
    }
}

/// The first signal requests a stop, the second one ends the process: both leave a state as good as after a kill.
#[test]
fn a_signal_at_any_step_spoils_nothing() {
    at_every_step(41, |bench, steps, index| {
        for signals in [1, 2] {
            bench.reset();
            let what = format!("{signals} signals before `{}` of {}", steps[index], bench.name());
            let faults = vec![format!(":{}:terminate", index + 1); signals].join(",");
            let done = bench.run(&faults).ends();
            // After one signal, a stage that is nearly done may still finish.
            let code = done.status().code();
            assert!(code == Some(75) || (code == Some(0) && signals == 1), "{what}: {:?}\n{done}", done.status());
            bench.expect_whole(&what);
            bench.expect_repaired(false, &what);
        }
    });
}

#[test]
fn a_signal_ends_every_stage_before_it_is_done() {
    let sandbox = Sandbox::with(PIPELINE);
    for stage in STAGES {
        let failpoint = format!("create folder runs/small/.scratch/{stage}:terminate");
        let done = sandbox.limpid("run small.toml").env("LIMPID_FAILPOINT", failpoint).exits(75);
        done.says("interrupted; run the same command again to go on").never_says(&format!("{stage}: done"));
        assert!(!sandbox.path("runs/small/.scratch").exists(), "{stage}");
        sandbox.limpid(&format!("run small.toml --to {stage}")).succeeds();
    }
}

#[test]
fn a_failpoint_that_is_not_understood_is_refused() {
    let sandbox = Sandbox::with(PIPELINE);
    let refused = sandbox.limpid("run small.toml").env("LIMPID_FAILPOINT", "sync:2:explode").exits(2);
    refused.says("LIMPID_FAILPOINT: \"sync:2:explode\" is neither trace nor STEP[:N[+]]:ACTION");
}
