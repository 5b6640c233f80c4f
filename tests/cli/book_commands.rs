//! The commands of the README and of the book, docs/, are run as they stand there, page by page and in their order, and their pipelines read
//! their sources: each page in a folder of its own, with what the pages presume.
//!
//! Trainings are short since [`small`] changes the pipeline files, and no command. What is not run is named by a rule ([`RULES`]).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};

use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use image::ImageFormat;
use parquet::arrow::ArrowWriter;
use toml::{Table, Value};

use crate::applying::idx;
use crate::bad_input::gzip;
use crate::book::{Block, blocks, pages, root};
use crate::harness::{Sandbox, link};
use crate::own_arrays::{npy, npz};
use crate::own_images::{encoded, picture};
use crate::pages::tiff;
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

/// Makes a pipeline small: few images, digits that limpid draws in place of MNIST, a small model, one epoch, and no gate.
fn small(pipeline: &mut Table) {
    let table = |text: &str| -> Table { text.parse().expect("is TOML") };
    for (name, section) in pipeline.iter_mut() {
        let Some(section) = section.as_table_mut() else { continue };
        match name.as_str() {
            "source" => {
                if section.remove("mnist").is_some() {
                    section.insert("strokes".to_owned(), Table::new().into());
                }
                for (kind, settings) in section.iter_mut() {
                    let few = match kind.as_str() {
                        "strokes" => "train = 60\ntest = 20",
                        "scenes" | "documents" => "train = 12\ntest = 4\nsize = [40, 48]",
                        _ => continue,
                    };
                    settings.as_table_mut().expect("is a table").extend(table(few));
                }
            }
            "model" => {
                for (_, settings) in section.iter_mut().filter(|(kind, _)| ["conv", "unet"].contains(&kind.as_str())) {
                    let settings = settings.as_table_mut().expect("is a table");
                    settings.entry("channels").or_insert_with(|| Value::Array(vec![8.into(); 2]));
                    let widths = settings.iter_mut().filter(|(key, _)| key.ends_with("channels"));
                    for (_, width) in widths.filter_map(|(key, widths)| Some((key, widths.as_array_mut()?))) {
                        width.iter_mut().for_each(|width| *width = 4.into());
                    }
                }
            }
            "training" => {
                section.insert("epochs".to_owned(), 1.into());
                section.get_mut("patch").into_iter().for_each(|side| *side = 16.into());
            }
            _ => {}
        }
    }
    pipeline.insert("gate".to_owned(), table("baselines = []").into());
}

/// A picture in grey.
fn grey(rows: u32, columns: u32, seed: u32, format: ImageFormat) -> Vec<u8> {
    encoded(&picture(rows, columns, seed).grayscale(), format)
}

fn grey_png(rows: u32, columns: u32, seed: u32) -> Vec<u8> {
    grey(rows, columns, seed, ImageFormat::Png)
}

/// A Parquet file with a picture in each of these columns.
fn table(columns: &[&str]) -> Vec<u8> {
    let pictures = |first: u32| (first..first + 12).map(|seed| Some(grey_png(30, 34, seed))).collect::<BinaryArray>();
    let columns = columns.iter().zip(0..).map(|(name, at)| (*name, Arc::new(pictures(100 * at)) as ArrayRef));
    let table = RecordBatch::try_from_iter(columns).expect("fits");
    let mut writer = ArrowWriter::try_new(Vec::new(), table.schema(), None).expect("starts");
    writer.write(&table).expect("writes");
    writer.into_inner().expect("writes")
}

/// What the pages presume, by name: the pipelines of the repository, and data of the names that they use.
fn presumed() -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root().join("pipelines")).expect("is there") {
        let file = entry.expect("is listed").path();
        let name = file.file_name().and_then(|name| name.to_str()).expect("is text").to_owned();
        files.push((format!("pipelines/{name}"), std::fs::read(file).expect("is read")));
    }
    let quickstart = std::fs::read_to_string(root().join("pipelines/quickstart.toml")).expect("is text");
    let array =
        |seed: usize| npy("|u1", "(40, 12, 12)", &(0..40 * 144).map(|at| (at * 7 + seed) as u8).collect::<Vec<_>>());
    // As scripts/drawn_table.py, for machines without Python.
    let line = |cell: &dyn Fn(usize) -> String, label: &str| {
        (0..20).map(|column| cell(column) + ",").collect::<String>() + label + "\n"
    };
    let rows = (0..100).map(|row| line(&|column| (row * (column + 3) % 11).to_string(), ["good", "worn"][row % 2]));
    let rows = (line(&|column| format!("bar_{column}"), "label") + &rows.collect::<String>()).into_bytes();
    let arrays = ["x", "y", "x_test", "y_test"].map(|name| (name, array(name.len())));
    let single = [
        ("nightly.toml", quickstart.replace("\"quickstart\"", "\"nightly\"").into_bytes()),
        ("photo.jpg", encoded(&picture(70, 90, 1), ImageFormat::Jpeg)),
        ("large.png", grey_png(300, 400, 1)),
        ("page7.png", grey_png(28, 28, 7)),
        ("noisy/2.png", grey_png(60, 80, 2)),
        ("stack.tif", tiff(&[(40, 50), (64, 30)], false)),
        ("digits.idx3.gz", gzip(&idx(&[20, 28, 28]))),
        ("new.parquet", table(&["image"])),
        ("a/0.parquet", table(&["image"])),
        ("b/0.parquet", table(&["image"])),
        ("data/train-0.parquet", table(&["clean", "scan"])),
        ("data/test-0.parquet", table(&["clean", "scan"])),
        ("clean.npy", array(0)),
        ("noisy.npy", array(1)),
        ("pairs.npz", npz(&arrays, zip::CompressionMethod::Stored)),
        ("machines.csv", rows.clone()),
        ("new.csv", rows),
    ];
    files.extend(single.map(|(name, bytes)| (name.to_owned(), bytes)));
    for seed in 0..60 {
        files.push((format!("photos/{seed}.png"), grey_png(64 + seed % 3, 80 - seed % 5, seed)));
        files.push((format!("scans/a/{seed}.jpg"), grey(28, 28, 100 + seed, ImageFormat::Jpeg)));
        files.push((format!("cleaned/a/{seed}.png"), grey_png(28, 28, seed)));
        files.push((format!("office/Font{seed}_Noise{}_TE.png", seed % 3), grey_png(28, 28, 100 + seed)));
        files.push((format!("office/Font{seed}_Clean_TE.png"), grey_png(28, 28, seed)));
    }
    files.extend((0..100).map(|seed| (format!("train400/{seed}.png"), grey_png(40, 40, seed))));
    for (split, seed) in (0..8).map(|seed| (["train", "test"][seed as usize % 2], seed)) {
        files.push((format!("bsd68/{split}/{seed}.png"), grey_png(40 + seed % 2, 41 - seed % 2, seed)));
        files.push((format!("half/noisy/{split}/{seed}.png"), grey_png(30, 40, 100 + seed)));
        files.push((format!("half/clean/{split}/{seed}.png"), grey_png(30, 40, seed)));
    }
    files
}

/// The folder of a page.
struct Place {
    sandbox: Sandbox,
}

impl Place {
    /// With those of these files and folders that a page names, and the scripts of the repository.
    fn new(files: &[(String, Vec<u8>)], page: &str) -> Self {
        let sandbox = Sandbox::new();
        std::os::unix::fs::symlink(root().join("scripts"), sandbox.path("scripts")).expect("linked");
        for (name, bytes) in files {
            if page.contains(name.split('/').next().unwrap_or(name)) {
                sandbox.write(name, bytes);
            }
        }
        Self { sandbox }
    }

    /// Writes the pipeline of a TOML block whose first line is the name of its file.
    fn write_pipeline(&self, block: &Block) {
        let name = block.code.lines().next().and_then(|line| line.strip_prefix("# "));
        if let Some(name) = name.filter(|name| block.language == "toml" && name.ends_with(".toml")) {
            self.sandbox.write(name, block.code.as_bytes());
        }
    }

    /// Makes its pipeline files small.
    fn shrink(&self) {
        let folders = ["", "pipelines"].map(|folder| std::fs::read_dir(self.sandbox.path(folder)));
        for file in folders.into_iter().flatten().flatten().map(|entry| entry.expect("is listed").path()) {
            if file.extension().is_some_and(|extension| extension == "toml") {
                let text = std::fs::read_to_string(&file).expect("is text");
                let mut pipeline: Table = text.parse().expect("is TOML");
                small(&mut pipeline);
                // A file that is small already stays as it is, with its time.
                Some(pipeline.to_string()).filter(|small| *small != text).map(|small| std::fs::write(&file, small));
            }
        }
    }

    /// Has the runs that a text names, and that nothing has made here yet, from a place where they are made of the pipelines of these names.
    fn provide_runs(&self, text: &str, from: &Self) {
        let code = text.lines().map(|line| line.split(" #").next().unwrap_or(line));
        let words = code.flat_map(|line| line.split([' ', '\'', '"']));
        for name in words.filter_map(|word| word.strip_prefix("runs/")?.split('/').next()) {
            let run = format!("runs/{name}");
            let mut files = [format!("pipelines/{name}.toml"), format!("{name}.toml")].into_iter();
            let Some(file) = files.find(|file| from.sandbox.path(file).exists()) else { continue };
            if !self.sandbox.path(&run).exists() {
                if !from.sandbox.path(&run).exists() {
                    from.shrink();
                    from.sandbox.limpid(&format!("run {file}")).succeeds();
                }
                link(&from.sandbox.path(&run), &self.sandbox.path(&run));
            }
        }
    }

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
