//! The commands of the README and of the book, docs/, are run as they stand there, page by page and in their order, and their pipelines read
//! their sources: each page in a folder of its own, with what the pages presume.
//!
//! Trainings are short since the pipeline files are made small; commands are not changed. What is not run is named by a rule ([`RULES`]).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use crate::book::{Block, blocks, pages, root};
use crate::book_place::{Place, presumed, small, table};
use crate::store_server::{Server, login, s3};

/// A reason not to run something.
struct Rule {
    /// What its text contains.
    word: &'static str,
    /// Whether all of its block is left out, since the rest needs what it brings.
    whole_block: bool,
    /// The reason.
    why: &'static str,
    /// Whether this machine can run it nevertheless.
    is_possible: fn() -> bool,
}

const fn never(word: &'static str, why: &'static str) -> Rule {
    Rule { word, whole_block: false, why, is_possible: || false }
}

const fn never_its_block(word: &'static str, why: &'static str) -> Rule {
    Rule { whole_block: true, ..never(word, why) }
}

/// What is not run. Each rule has to apply to something.
const RULES: [Rule; 20] = [
    never("cargo build", "builds limpid"),
    never("cargo install", "builds a program"),
    never("cargo binstall", "needs a network"),
    never("cargo test", "runs the tests"),
    never("pip install", "needs a network"),
    never("uvx ", "needs a network"),
    never_its_block("curl -LO", "needs a network"),
    never_its_block("airflow ", "needs Airflow"),
    never_its_block("docker ", "needs Docker"),
    never("curl -s ", "needs a server"),
    never("limpid-cluster ", "has tests of its own"),
    never("scripts/compare.py", "measures for minutes"),
    never("scripts/beside.py", "measures for minutes"),
    never("libtorch", "needs LibTorch"),
    never("--device cuda", "needs a GPU"),
    never("gs://", "needs a store of Google's"),
    never("import limpid", "run by scripts/check_python.py"),
    never("fsspec", "needs s3fs; scripts/check_stores.py reads the same files"),
    Rule { word: "s3://", whole_block: false, why: "needs moto", is_possible: || s3(BUCKET).is_some() },
    Rule { word: ".py ", whole_block: false, why: "needs Python, numpy and pyarrow", is_possible: || *PYTHON },
];

/// Whether the scripts can run.
static PYTHON: LazyLock<bool> = LazyLock::new(|| imports("import numpy, pyarrow"));

/// The bucket of the pages.
const BUCKET: &str = "bucket";

/// The rule that applies to a command in a block.
fn rule(block: &str, command: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| if rule.whole_block { block } else { command }.contains(rule.word))
}

/// `PATH` with limpid, and with the readers of tables that `.ci/run` installs.
fn path() -> OsString {
    let program = Path::new(crate::PROGRAM).parent().expect("lies in a folder").to_owned();
    let readers = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("readers").join("bin");
    let rest = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([program, readers].into_iter().chain(std::env::split_paths(&rest))).expect("are names")
}

/// Whether Python has the modules of these lines.
fn imports(lines: &str) -> bool {
    let python = Command::new("python3").args(["-c", lines]).env("PATH", path()).stderr(Stdio::null()).status();
    python.is_ok_and(|status| status.success())
}

impl Place {
    /// Runs a program with these arguments.
    ///
    /// # Errors
    /// What it says where it fails.
    fn run(&self, program: &str, arguments: &[&str], store: Option<&Server>) -> Result<(), String> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).current_dir(self.sandbox.path(""));
        command.env("HOME", self.sandbox.path("")).env("PATH", path()).env_remove("MNIST_DIR");
        command.envs(store.into_iter().flat_map(|server| login(&format!("http://{}", server.address))));
        let output = command.output().map_err(|cause| cause.to_string())?;
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        output.status.success().then_some(()).ok_or(format!("{}\n{stdout}{stderr}", output.status))
    }

    /// Runs a shell's command, for every task if it is that of one, and expects the files and folders that a comment behind it names.
    ///
    /// # Errors
    /// What it says where it fails; what is missing.
    fn run_shell(&self, command: &str, store: Option<&Server>) -> Result<(), String> {
        let command = command.trim_start_matches("time ").replace("cargo run --release --", "limpid");
        of_every_task(&command).iter().try_for_each(|command| self.run("sh", &["-c", command], store))?;
        let comment = command.split_once(" # ").map_or("", |(_, comment)| comment);
        let is_file = |word: &&str| ["/", ".parquet", ".toml", ".html"].iter().any(|end| word.ends_with(end));
        let mut files = comment.split([' ', ',', ':', ';']).filter(is_file);
        files.find(|file| !self.sandbox.path(file).exists()).map_or(Ok(()), |file| Err(format!("there is no {file}")))
    }
}

/// A command for every task, where it is that of one of several.
fn of_every_task(command: &str) -> Vec<String> {
    let Some((before, rest)) = command.split_once(" --index ") else { return vec![command.to_owned()] };
    let words: Vec<_> = rest.split_whitespace().collect();
    let ["3", "--of", count, ..] = words[..] else { panic!("{command}: not the task 3 of several") };
    (0..count.parse::<u32>().expect("is a number"))
        .map(|index| format!("{before} --index {index} --of {count}"))
        .collect()
}

/// The command of a line for cron, in the current folder and with the program that is tested.
fn of_cron(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().skip(5).collect();
    words.join(" ").replace("/srv/digits", ".").replace("/usr/local/bin/", "")
}

/// The pages, and what becomes of them.
struct Book {
    files: Vec<(String, Vec<u8>)>,
    /// Where the runs are made that pages presume.
    made: Place,
    store: Option<&'static Server>,
    /// How many commands were run.
    count: usize,
    /// The rules that applied.
    used: BTreeSet<&'static str>,
    failed: Vec<String>,
}

impl Book {
    /// Runs the blocks of a page in their order.
    fn run_page(&mut self, path: &Path, text: &str) {
        let page = Place::new(&self.files, text);
        for block in blocks(text) {
            page.write_pipeline(&block);
            for text in if block.language == "sh" { block.commands() } else { vec![block.code.clone()] } {
                let place = format!("{}, block of line {}", path.display(), block.at);
                if let Err(why) = self.run_text(&page, &block, &text) {
                    self.failed.push(format!("{place}: {text}: {why}"));
                }
            }
        }
    }

    /// Runs a command of a page, or a block of Python or SQL.
    fn run_text(&mut self, page: &Place, block: &Block, text: &str) -> Result<(), String> {
        let modules: Vec<&str> = match block.language.as_str() {
            "sh" | "cron" => vec![],
            "sql" => vec!["import duckdb"],
            "python" => text.lines().filter(|line| line.starts_with("import ") || line.starts_with("from ")).collect(),
            "toml" | "text" => return Ok(()),
            other => return Err(format!("a block of {other}, which this test does not know")),
        };
        if let Some(rule) = rule(&block.code, text) {
            self.used.insert(rule.word);
            if !(rule.is_possible)() {
                println!("not run: {}: {text}", rule.why);
                return Ok(());
            }
        }
        if !modules.is_empty() && !imports(&modules.join("\n")) {
            println!("not run: needs {}", modules.join("; "));
            return Ok(());
        }
        page.shrink();
        page.provide_runs(text, &self.made);
        self.count += 1;
        match block.language.as_str() {
            "sh" => page.run_shell(text, self.store),
            "cron" => page.run_shell(&of_cron(text), None),
            "sql" => page.run("python3", &["-c", "import duckdb, sys; print(duckdb.sql(sys.argv[1]))", text], None),
            _ => page.run("python3", &["-c", text], None),
        }
    }
}

#[test]
fn every_command_succeeds_in_the_order_of_its_page() {
    let (files, pages) = (presumed(), pages());
    let made = Place::new(&files, &pages.iter().map(|(_, text)| text.as_str()).collect::<String>());
    for (_, text) in &pages {
        blocks(text).iter().for_each(|block| made.write_pipeline(block));
    }
    let store = s3(BUCKET);
    if let Some(server) = store {
        server.ask("PUT", &format!("/{BUCKET}/digits.parquet"), &table(&["image"]));
    }
    let mut book = Book { files, made, store, count: 0, used: BTreeSet::new(), failed: Vec::new() };
    pages.iter().for_each(|(path, text)| book.run_page(path, text));
    println!("{} commands", book.count);
    assert!(book.failed.is_empty(), "{}", book.failed.join("\n"));
    assert!(book.count > 60, "{} commands", book.count);
    let unused: Vec<_> = RULES.iter().map(|rule| rule.word).filter(|word| !book.used.contains(word)).collect();
    assert!(unused.is_empty(), "rules that leave nothing out: {unused:?}");
}

#[test]
fn every_pipeline_reads_its_source() {
    let (files, mut count, mut failed) = (presumed(), 0, Vec::new());
    for (path, text) in pages() {
        for block in blocks(&text).iter().filter(|block| block.language == "toml") {
            let Some(mut pipeline) = block.pipeline() else { continue };
            small(&mut pipeline);
            let place = Place::new(&files, &block.code);
            place.sandbox.write("part.toml", pipeline.to_string().as_bytes());
            for words in ["run part.toml --to ingest", "plan part.toml"] {
                let done = place.sandbox.limpid(words).ends();
                if !done.status().success() {
                    failed.push(format!("{}, block of line {}: {words}: {done}", path.display(), block.at));
                }
            }
            count += 1;
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(count > 8, "{count} pipelines");
}

#[test]
fn the_files_for_schedulers_do_their_work() {
    let place = Place::new(&presumed(), "nightly.toml");
    place.shrink();
    let read = |name: &str| std::fs::read_to_string(root().join("docs/scheduling").join(name)).expect("is text");
    let behind = |name: &str, key: &str| {
        let text = read(name);
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key)).expect("is there");
        line.replace("/usr/local/bin/", "").replace(['[', ']', ',', '"'], "")
    };
    let script = |name: &str| root().join("docs/scheduling").join(name).display().to_string();
    let shard = behind("indexed_job.yaml", "args:").replace("$(JOB_COMPLETION_INDEX)", "$index");
    let tasks = script("slurm_array.sh");
    for command in [
        "limpid run nightly.toml --to train",
        &format!("for index in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do limpid {shard} || exit; done"),
        &behind("indexed_job.yaml", "# When the job is complete, publish: kubectl create job limpid-commit … --"),
        &format!(
            "for id in 0 1; do SLURM_ARRAY_TASK_ID=$id SLURM_ARRAY_TASK_COUNT=2 bash {tasks} nightly.toml denoise || exit; done"
        ),
        &format!("bash {tasks} nightly.toml denoise commit"),
        &of_cron(read("limpid.cron").lines().last().expect("has a line")),
        &format!("limpid plan nightly.toml --check && bash {} nightly.toml", script("slurm.sh")),
        &behind("limpid.service", "ExecStart="),
        &format!("limpid {}", behind("cronjob.yaml", "args:")),
    ] {
        if let Err(why) = place.run("sh", &["-c", command], None) {
            panic!("{command}: {why}");
        }
    }
}
