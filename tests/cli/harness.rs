//! The test harness: runs the binary by chained calls, and checks exit code, stdout, stderr and files. The tests of limpid-cluster have this
//! file too.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A temporary folder with a pipeline file.
pub struct Sandbox {
    folder: TempDir,
}

/// A small pipeline that has every stage.
pub const PIPELINE: &str = r#"
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
"#;

impl Sandbox {
    /// A sandbox with [`PIPELINE`].
    pub fn new() -> Self {
        Self::with(PIPELINE)
    }

    /// A sandbox with another pipeline. Unless it has a gate, the gate is off, since a few steps of training beat no baseline.
    pub fn with(pipeline: &str) -> Self {
        let sandbox = Self { folder: tempfile::tempdir().expect("a folder") };
        let gate = if pipeline.contains("[gate]") { "" } else { "\n[gate]\nbaselines = []\n" };
        sandbox.write("small.toml", [pipeline, gate].concat().as_bytes());
        sandbox
    }

    /// A path in the sandbox.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("has a folder")).expect("created");
        std::fs::write(&path, content).expect("written");
        path
    }

    /// Reads a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A command in the sandbox, with words separated by spaces.
    pub fn limpid(&self, words: &str) -> Run {
        let mut command = Command::new(crate::PROGRAM);
        command.args(words.split_whitespace()).current_dir(self.folder.path());
        // Keeps the machine's own data out of the tests.
        command.env_remove("MNIST_DIR").env("HOME", self.folder.path());
        Run { command }
    }

    /// Every file of a stage by name, without the receipt, which contains times.
    pub fn files(&self, folder: &str) -> Vec<(String, Vec<u8>)> {
        files(&self.path(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"))
    }
}

/// Every stage of [`PIPELINE`], in order.
pub const STAGES: [&str; 7] = ["ingest", "corrupt", "train", "encode", "denoise", "evaluate", "report"];

/// Its stages with `output.profile`.
pub const STAGES_AND_EXPORT: [&str; 8] =
    ["ingest", "corrupt", "train", "encode", "denoise", "evaluate", "report", "export"];

/// Every file below a folder by its relative path, without the receipt, which contains times.
pub fn files(folder: &Path) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name().to_string_lossy().into_owned()))?;
        if path.is_dir() {
            files.extend(self::files(&path)?.into_iter().map(|(inside, bytes)| (format!("{name}/{inside}"), bytes)));
        } else if name != "_receipt.json" {
            files.push((name, std::fs::read(&path)?));
        }
    }
    files.sort();
    Ok(files)
}

/// Hard-links every file below a folder into another.
pub fn link(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("created");
    for entry in std::fs::read_dir(from).expect("is there") {
        let entry = entry.expect("readable");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() { link(&path, &to) } else { std::fs::hard_link(path, to).expect("linked") }
    }
}

/// A command that is about to run.
pub struct Run {
    command: Command,
}

impl Run {
    /// Adds an argument that may hold spaces.
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it in another folder.
    pub fn inside(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs it with a closed stdout, and expects this exit code.
    pub fn exits_unread(mut self, code: i32) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let status = self.command.stdout(writer).stderr(std::process::Stdio::null()).status().expect("starts");
        assert_eq!(status.code(), Some(code), "{:?}", self.command);
    }

    /// Runs it and expects this exit code.
    pub fn exits(mut self, code: i32) -> Done {
        let output = self.command.output().expect("starts");
        let done = Done { output };
        assert_eq!(done.output.status.code(), Some(code), "{:?}\n{done}", self.command);
        done
    }

    /// Runs it and expects success.
    pub fn succeeds(self) -> Done {
        self.exits(0)
    }

    /// Runs it, with any exit code, and returns its peak memory in MB.
    #[cfg(target_os = "linux")]
    pub fn peak(mut self) -> (Done, u64) {
        let piped = std::process::Stdio::piped;
        let child = self.command.stdin(std::process::Stdio::null()).stdout(piped()).stderr(piped()).spawn();
        let child = child.expect("starts");
        let status = format!("/proc/{}/status", child.id());
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            // The kernel records the maximum, so that only changes after the last look are missed.
            let watching = scope.spawn(|| {
                let mut peak = 0;
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    let text = std::fs::read_to_string(&status).unwrap_or_default();
                    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
                    peak = peak.max(kilobytes.unwrap_or(0) / 1000);
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                peak
            });
            let output = child.wait_with_output().expect("can be waited for");
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
            (Done { output }, watching.join().expect("watches"))
        })
    }

    /// Runs it, with any exit code.
    pub fn ends(mut self) -> Done {
        Done { output: self.command.output().expect("starts") }
    }

    /// The command, for callers that start it in another way.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Starts it.
    pub fn spawn(mut self) -> std::process::Child {
        self.command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().expect("starts")
    }
}

/// A command that has run.
pub struct Done {
    output: Output,
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "--- stdout\n{}--- stderr\n{}", self.stdout(), self.stderr())
    }
}

impl Done {
    /// Its stdout.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Its exit status.
    pub fn status(&self) -> std::process::ExitStatus {
        self.output.status
    }

    /// Its stderr.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Expects a text on stdout.
    pub fn prints(self, expected: &str) -> Self {
        assert!(self.stdout().contains(expected), "{expected:?} is not on stdout\n{self}");
        self
    }

    /// Expects a text on stderr.
    pub fn says(self, expected: &str) -> Self {
        assert!(self.stderr().contains(expected), "{expected:?} is not on stderr\n{self}");
        self
    }

    /// Expects that a text is not on stderr.
    pub fn never_says(self, unexpected: &str) -> Self {
        assert!(!self.stderr().contains(unexpected), "{unexpected:?} is on stderr\n{self}");
        self
    }
}
