//! Clusters of real processes on loopback: whoever makes the shards, and whoever dies meanwhile, the results have the bytes of a run on one
//! machine, and each shard is told once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

/// The most that any step may take; hangs fail, and nothing else depends on it.
const LIMIT: Duration = Duration::from_secs(120);

/// Those after them read what these write, and are no business of a cluster.
const STAGES: [&str; 5] = ["ingest", "corrupt", "train", "encode", "denoise"];

/// The map stages, each of which has six shards of training images and two of test images.
const MAP_STAGES: [&str; 3] = ["corrupt", "encode", "denoise"];

const PIPELINE: &str = r#"
name = "small"
[source]
strokes = { train = 600, test = 120 }
[corruption]
gaussian = { std = 0.5 }
[model]
dense = { hidden = [32], code = 8 }
[training]
input = "noisy"
epochs = 2
batch-size = 50
[output]
shard-rows = 100
[gate]
baselines = []
"#;

type Results = BTreeMap<String, Vec<u8>>;

/// The files of every stage of a run, without the receipts, which contain times.
fn results(run: &Path) -> Results {
    let files = STAGES.iter().flat_map(|stage| {
        let entries = fs::read_dir(run.join(stage)).unwrap_or_else(|error| panic!("{stage}: {error}"));
        entries.map(move |entry| (stage, entry.expect("is readable")))
    });
    let named = files.map(|(stage, file)| (format!("{stage}/{}", file.file_name().to_string_lossy()), file.path()));
    let named = named.filter(|(name, _)| !name.ends_with("_receipt.json"));
    named.map(|(name, path)| (name, fs::read(path).expect("is readable"))).collect()
}

/// What a run on one machine writes.
fn expected() -> &'static Results {
    static EXPECTED: OnceLock<Results> = OnceLock::new();
    EXPECTED.get_or_init(|| {
        let sandbox = Sandbox::new();
        let runs = sandbox.path("runs");
        let pipeline = sandbox.path("small.toml");
        let words = ["limpid", "run", "--to", "denoise", "--runs"].map(PathBuf::from);
        let arguments = words.into_iter().chain([runs.clone(), pipeline]).map(PathBuf::into_os_string);
        assert_eq!(limpid::command::main(&arguments.collect::<Vec<_>>()), 0);
        results(&runs.join("small"))
    })
}

/// A temporary folder with the pipeline.
struct Sandbox {
    folder: TempDir,
    started: AtomicUsize,
}

impl Sandbox {
    fn new() -> Self {
        let sandbox = Self { folder: tempfile::tempdir().expect("a folder"), started: AtomicUsize::new(0) };
        fs::write(sandbox.path("small.toml"), PIPELINE).expect("is written");
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the program, with a fault if it is not empty.
    fn start(&self, words: &str, fault: &str) -> Process {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let [output, errors] = ["stdout", "stderr"].map(|name| self.path(&format!("{number}.{name}")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_limpid-cluster"));
        command.args(words.split_whitespace()).current_dir(self.folder.path()).stdin(Stdio::null());
        command.stdout(File::create(&output).expect("is created")).stderr(File::create(&errors).expect("is created"));
        command.env_remove("MNIST_DIR").env("HOME", self.folder.path()).env("LIMPID_FAILPOINT", fault);
        Process { words: words.to_owned(), child: command.spawn().expect("starts"), output, errors }
    }

    /// A scheduler, and its address.
    fn scheduler(&self) -> (Process, String) {
        let scheduler = self.start("scheduler --bind 127.0.0.1:0 --executor-timeout 6s", "");
        let address = until(|| scheduler.stdout().strip_suffix('\n').map(str::to_owned), || scheduler.to_string());
        (scheduler, address)
    }

    fn executor(&self, scheduler: &str, fault: &str) -> Process {
        self.start(&format!("executor {scheduler} --threads 1"), fault)
    }

    fn run(&self, scheduler: &str) -> Process {
        self.start(&format!("run small.toml --to denoise --threads 2 --log json --engine {scheduler}"), "")
    }

    /// A fault at the fifth file that an executor creates among the shards of a stage, when some are finished.
    fn fault(&self, stage: &str, action: &str) -> String {
        format!("create {}:5:{action}", self.path(&format!("runs/small/.shards/{stage}")).display())
    }

    /// Checks that the run has the expected results, and nothing is left behind.
    fn check(&self) {
        self.check_results();
        assert!(!self.path("runs/small/.shards").exists());
    }

    /// Checks that the run has the expected results.
    fn check_results(&self) {
        let found = results(&self.path("runs/small"));
        assert!(found.keys().eq(expected().keys()), "{:?}", found.keys());
        for (name, bytes) in expected() {
            assert!(found[name] == *bytes, "{name} differs");
        }
    }

    /// The finished shards of a stage, and when they were written.
    fn finished(&self, stage: &str) -> BTreeMap<String, SystemTime> {
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
struct Process {
    words: String,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Process {
    fn stdout(&self) -> String {
        fs::read_to_string(&self.output).expect("is text")
    }

    fn stderr(&self) -> String {
        fs::read_to_string(&self.errors).expect("is text")
    }

    /// Waits for its end and returns the exit code, if it was not killed.
    fn code(&mut self) -> Option<i32> {
        let told = format!("{self}");
        until(|| self.child.try_wait().expect("can be waited for"), || told.clone()).code()
    }

    fn exits(&mut self, code: i32) {
        let found = self.code();
        assert_eq!(found, Some(code), "{self}");
    }

    fn says(&self, text: &str) {
        assert!(self.stderr().contains(text), "{text:?} is not said by {self}");
    }

    /// Checks that it has told of each shard of these stages once.
    fn tells_each_shard_once(&self, stages: &[&str]) {
        let mut told = BTreeMap::new();
        for line in self.stderr().lines().filter(|line| line.contains("shard-finished")) {
            let event: serde_json::Value = serde_json::from_str(line).expect("is JSON");
            *told.entry(format!("{}/{}", event["stage"], event["shard"])).or_insert(0) += 1;
        }
        assert!(told.len() == 8 * stages.len() && told.values().all(|times| *times == 1), "{told:?}\n{self}");
    }

    fn kill(&mut self) {
        // It may have ended.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n--- stdout\n{}--- stderr\n{}", self.words, self.stdout(), self.stderr())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits for something.
fn until<T>(mut happened: impl FnMut() -> Option<T>, told: impl Fn() -> String) -> T {
    let start = Instant::now();
    loop {
        if let Some(it) = happened() {
            return it;
        }
        assert!(start.elapsed() < LIMIT, "nothing happens: {}", told());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_cluster_in_one_process_makes_the_same_bytes() {
    let sandbox = Sandbox::new();
    let mut run = sandbox.run("ballista");
    run.exits(0);
    run.tells_each_shard_once(&MAP_STAGES);
    sandbox.check();
    // Nothing more to do, and nothing is done.
    let mut again = sandbox.run("ballista");
    again.exits(0);
    again.tells_each_shard_once(&[]);
}

#[test]
fn one_executor_and_four_make_the_same_bytes() {
    for executors in [1, 4] {
        let sandbox = Sandbox::new();
        let (_scheduler, address) = sandbox.scheduler();
        let _executors: Vec<_> = (0..executors).map(|_| sandbox.executor(&address, "")).collect();
        let mut run = sandbox.run(&address);
        run.exits(0);
        run.tells_each_shard_once(&MAP_STAGES);
        sandbox.check();
    }
}

#[test]
fn the_shards_of_a_killed_executor_are_made_by_another() {
    let sandbox = Sandbox::new();
    let (_scheduler, address) = sandbox.scheduler();
    let mut killed = sandbox.executor(&address, &sandbox.fault("encode", "kill"));
    let mut run = sandbox.run(&address);
    assert_eq!(killed.code(), None, "{killed}");
    let before = sandbox.finished("encode").len();
    assert!((1..8).contains(&before), "{before}");
    let _other = sandbox.executor(&address, "");
    run.exits(0);
    run.tells_each_shard_once(&MAP_STAGES);
    sandbox.check();
}

#[test]
fn an_executor_that_is_asked_to_stop_leaves_its_work_to_others() {
    let sandbox = Sandbox::new();
    let (_scheduler, address) = sandbox.scheduler();
    let mut stopped = sandbox.executor(&address, &sandbox.fault("encode", "terminate"));
    let mut run = sandbox.run(&address);
    stopped.exits(75);
    let _other = sandbox.executor(&address, "");
    run.exits(0);
    run.tells_each_shard_once(&MAP_STAGES);
    sandbox.check();
}

#[test]
fn a_client_that_was_killed_goes_on_at_its_finished_shards() {
    let sandbox = Sandbox::new();
    let (_scheduler, address) = sandbox.scheduler();
    let mut killed = sandbox.executor(&address, &sandbox.fault("encode", "kill"));
    let mut client = sandbox.run(&address);
    assert_eq!(killed.code(), None, "{killed}");
    client.kill();
    let before = sandbox.finished("encode");
    assert!((1..8).contains(&before.len()), "{before:?}");
    let _other = sandbox.executor(&address, "");
    let mut again = sandbox.run(&address);
    again.exits(0);
    // The job of the killed client may still be making shards, which the next run removes.
    sandbox.check_results();
    for (name, written) in before {
        let published = fs::metadata(sandbox.path(&format!("runs/small/encode/{name}")));
        assert_eq!(published.and_then(|file| file.modified()).expect("is published"), written, "{name} was made again");
    }
}

#[test]
fn a_scheduler_that_was_killed_can_be_replaced() {
    let sandbox = Sandbox::new();
    let (mut scheduler, address) = sandbox.scheduler();
    let mut killed = sandbox.executor(&address, &sandbox.fault("encode", "kill"));
    let mut run = sandbox.run(&address);
    assert_eq!(killed.code(), None, "{killed}");
    scheduler.kill();
    run.exits(75);
    run.says("the cluster of http://127.0.0.1:");
    let (_scheduler, address) = sandbox.scheduler();
    let _executor = sandbox.executor(&address, "");
    let mut again = sandbox.run(&address);
    again.exits(0);
    sandbox.check();
}

#[test]
fn a_shard_that_could_not_be_written_is_tried_again() {
    let sandbox = Sandbox::new();
    let (_scheduler, address) = sandbox.scheduler();
    let _executor = sandbox.executor(&address, &sandbox.fault("corrupt", "ENOSPC"));
    let mut run = sandbox.run(&address);
    run.exits(0);
    run.tells_each_shard_once(&MAP_STAGES);
    sandbox.check();
}

#[test]
fn a_shard_that_can_never_be_written_is_the_error_of_the_run() {
    let sandbox = Sandbox::new();
    let (_scheduler, address) = sandbox.scheduler();
    let _executor = sandbox.executor(&address, &sandbox.fault("corrupt", "ENOSPC").replace(":5:", ":5+:"));
    let mut run = sandbox.run(&address);
    run.exits(74);
    run.says("the stage corrupt failed");
    run.says("parquet was not made on");
    run.says("(os error 28)");
    assert!(!sandbox.path("runs/small/corrupt").exists());
    // What is finished stays so.
    assert!(!sandbox.finished("corrupt").is_empty());
}

#[test]
fn input_that_changes_under_an_executor_is_the_error_of_the_run() {
    let sandbox = Sandbox::new();
    let (_scheduler, address) = sandbox.scheduler();
    let input = sandbox.path("runs/small/ingest/train-00002-of-00006.parquet");
    let _executor = sandbox.executor(&address, &format!("read {}:1:rot", input.display()));
    let mut run = sandbox.run(&address);
    run.exits(74);
    run.says("ingest/train-00002-of-00006.parquet has changed while it was read");
    run.says("nothing of the stage corrupt is published");
    assert!(!sandbox.path("runs/small/corrupt").exists());
}

#[test]
fn mistakes_are_explained() {
    let sandbox = Sandbox::new();
    let mut unknown = sandbox.run("spark");
    unknown.exits(2);
    unknown.says("ballista://HOST:PORT");
    let mut short = sandbox.start("scheduler --bind 127.0.0.1:0 --executor-timeout 1s", "");
    short.exits(2);
    short.says("at least 6s");
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("is free");
    let mut nowhere = sandbox.run(&format!("ballista://{free}"));
    nowhere.exits(75);
    nowhere.says("the cluster of http://127.0.0.1:");
    let mut executor = sandbox.start(&format!("executor {free} --connect-timeout 1s"), "");
    executor.exits(74);
    executor.says("no scheduler answers at 127.0.0.1:");
}
