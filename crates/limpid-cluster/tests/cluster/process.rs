//! Clusters of real processes on loopback, and what is expected of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::harness::{PIPELINE, Sandbox};

/// The most that any step may take; hangs fail, and nothing else depends on it.
const LIMIT: Duration = Duration::from_secs(120);

/// The map stages, each of which has six shards of training images and two of test images.
pub const MAP_STAGES: [&str; 3] = ["corrupt", "encode", "denoise"];

/// The stages up to the last of them; those after it read what they write, and are no business of a cluster.
const STAGES: [&str; 5] = ["ingest", "corrupt", "train", "encode", "denoise"];

/// Files by stage and name.
pub type Results = BTreeMap<String, Vec<u8>>;

/// The pipeline of these tests, with more settings.
pub fn pipeline(settings: &str) -> String {
    format!("{PIPELINE}\n[output]\nshard-rows = 100\n{settings}")
}

/// The files of these stages of a run in a folder, without the receipts, which contain times.
pub fn results(sandbox: &Sandbox, run: &str, stages: &[&str]) -> Results {
    let files = stages.iter().flat_map(|stage| {
        let files = sandbox.files(&format!("{run}/{stage}")).into_iter();
        files.map(move |(name, bytes)| (format!("{stage}/{name}"), bytes))
    });
    files.collect()
}

/// Checks that two results are the same.
pub fn same(found: &Results, expected: &Results, whose: &str) {
    assert!(found.keys().eq(expected.keys()), "{whose}: {:?}", found.keys());
    for (name, bytes) in expected {
        assert!(found[name] == *bytes, "{whose}: {name} differs");
    }
}

/// What a run on one machine writes.
pub fn expected() -> &'static Results {
    static EXPECTED: OnceLock<Results> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let sandbox = Sandbox::with(&pipeline(""));
        sandbox.limpid("run small.toml --to denoise").succeeds();
        results(&sandbox, "runs/small", &STAGES)
    })
}

/// A sandbox with the processes of a cluster.
pub struct Cluster {
    pub sandbox: Sandbox,
    /// The environment of all of its processes.
    environment: Vec<(&'static str, String)>,
    started: AtomicUsize,
}

impl Cluster {
    /// With the usual pipeline.
    pub fn new() -> Self {
        Self::with("", Vec::new())
    }

    /// With more settings and an environment for all processes.
    pub fn with(settings: &str, environment: Vec<(&'static str, String)>) -> Self {
        Self { sandbox: Sandbox::with(&pipeline(settings)), environment, started: AtomicUsize::new(0) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    /// Starts the program, with a fault if it is not empty.
    pub fn start(&self, words: &str, fault: &str) -> Process {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let [output, errors] = ["stdout", "stderr"].map(|name| self.path(&format!("{number}.{name}")));
        let mut command = self.sandbox.limpid(words).into_command();
        command.stdin(Stdio::null()).env("LIMPID_FAILPOINT", fault).envs(self.environment.iter().cloned());
        command.stdout(File::create(&output).expect("is created")).stderr(File::create(&errors).expect("is created"));
        Process { words: words.to_owned(), child: command.spawn().expect("starts"), output, errors }
    }

    /// A scheduler, and its address.
    pub fn scheduler(&self) -> (Process, String) {
        let scheduler = self.start("scheduler --bind 127.0.0.1:0 --executor-timeout 6s", "");
        let address = until(|| scheduler.stdout().strip_suffix('\n').map(str::to_owned), || scheduler.to_string());
        (scheduler, address)
    }

    pub fn executor(&self, scheduler: &str, fault: &str) -> Process {
        self.start(&format!("executor {scheduler} --threads 1"), fault)
    }

    pub fn run(&self, scheduler: &str) -> Process {
        self.start(&format!("run small.toml --to denoise --threads 2 --log json --engine {scheduler}"), "")
    }

    /// A fault at the fifth file that an executor creates among the shards of a stage, when some are finished.
    pub fn fault(&self, stage: &str, action: &str) -> String {
        format!("create {}:5:{action}", self.path(&format!("runs/small/.shards/{stage}")).display())
    }

    /// Checks that the run has the expected results, and nothing is left behind.
    pub fn check(&self) {
        self.check_results();
        assert!(!self.path("runs/small/.shards").exists());
    }

    /// Checks that the run has the expected results.
    pub fn check_results(&self) {
        same(&results(&self.sandbox, "runs/small", &STAGES), expected(), "the cluster");
    }

    /// The finished shards of a stage, and when they were written.
    pub fn finished(&self, stage: &str) -> BTreeMap<String, SystemTime> {
        let Ok(folders) = fs::read_dir(self.path(&format!("runs/small/.shards/{stage}"))) else {
            return BTreeMap::new();
        };
        let folders: Vec<_> = folders.map(|folder| folder.expect("is readable").path()).collect();
        let receipts = folders.iter().find(|folder| folder.extension().is_some()).expect("has receipts");
        let files = receipts.with_extension("");
        let receipts = fs::read_dir(receipts).expect("is readable").map(|receipt| {
            receipt.expect("is readable").file_name().to_string_lossy().trim_end_matches(".json").to_owned()
        });
        let written = |name: String| Some((name.clone(), fs::metadata(files.join(name)).ok()?.modified().ok()?));
        receipts.filter_map(written).collect()
    }
}

/// A program under way; it is killed when it is dropped.
pub struct Process {
    words: String,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Process {
    pub fn stdout(&self) -> String {
        fs::read_to_string(&self.output).expect("is text")
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.errors).expect("is text")
    }

    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Whether it has ended: its exit code, or none if it was killed.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().expect("can be waited for").map(|status| status.code())
    }

    /// Waits for its end and returns the exit code, if it was not killed.
    pub fn code(&mut self) -> Option<i32> {
        let told = format!("{self}");
        until(|| self.ended(), || told.clone())
    }

    pub fn exits(&mut self, code: i32) {
        let found = self.code();
        assert_eq!(found, Some(code), "{self}");
    }

    pub fn says(&self, text: &str) {
        assert!(self.stderr().contains(text), "{text:?} is not said by {self}");
    }

    /// Waits until it says this.
    pub fn will_say(&self, text: &str) {
        until(|| self.stderr().contains(text).then_some(()), || format!("{text:?} is not said by {self}"));
    }

    /// How often it has told of each shard.
    pub fn told_shards(&self) -> BTreeMap<String, usize> {
        let mut told = BTreeMap::new();
        // A kill can truncate a line.
        let events = self.stderr();
        let events = events.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        for event in events.filter(|event| event["event"] == "shard-finished") {
            *told.entry(format!("{}/{}", event["stage"], event["shard"])).or_insert(0) += 1;
        }
        told
    }

    /// Checks that it has told of each shard of these stages once.
    pub fn tells_each_shard_once(&self, stages: &[&str]) {
        let told = self.told_shards();
        assert!(told.len() == 8 * stages.len() && told.values().all(|times| *times == 1), "{told:?}\n{self}");
    }

    pub fn kill(&mut self) {
        // It may have ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n--- stdout\n{}--- stderr\n{}", self.words, self.stdout(), self.stderr())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for something.
pub fn until<T>(mut happened: impl FnMut() -> Option<T>, told: impl Fn() -> String) -> T {
    let start = Instant::now();
    loop {
        if let Some(it) = happened() {
            return it;
        }
        assert!(start.elapsed() < LIMIT, "nothing happens: {}", told());
        std::thread::sleep(Duration::from_millis(20));
    }
}
