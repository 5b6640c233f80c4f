//! The commands: one file each. Results go to stdout, everything else to stderr.

mod apply;
mod completions;
mod devices;
mod diff;
mod export;
mod inspect;
mod plan;
mod results;
mod run;
mod schema;
mod scores;
mod show;

use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::{Cli, Command, PipelineArgs, WorkArgs};
use crate::config::{self, Pipeline};
use crate::error;
use crate::pipeline::Selection;
use crate::progress::Progress;
use crate::record::receipt::{Receipt, output_damage};
use crate::record::workspace::{RECEIPT, steadily, whole_receipt_in};
use crate::source;
use crate::store::failpoint;
use crate::store::local::{self, only_writer};
use crate::text::{escaped, on_one_line};

/// Carries out a command.
///
/// # Errors
/// Whatever it fails with; see `error` for what becomes of it.
pub fn execute(cli: Cli) -> Result<()> {
    failpoint::install()?;
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Show(args) => show::show(&args),
        Command::Diff(args) => diff::diff(&args),
        Command::Encode(args) => apply::apply(&args, apply::Direction::Encode),
        Command::Denoise(args) => apply::apply(&args, apply::Direction::Denoise),
        Command::Export(args) => export::export(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Devices(args) => devices::devices(&args),
        Command::Schema { log } => schema::schema(log),
        Command::Completions { shell } => completions::completions(shell),
    }
}

/// Prints lines of the result, without what a terminal would obey.
fn print(lines: impl Display) -> Result<()> {
    print_own(escaped(&lines.to_string()))
}

/// Prints one line of the result; the end of a line in a name or a value does not begin another.
fn print_line(line: impl Display) -> Result<()> {
    print_own(on_one_line(&line.to_string()))
}

/// Prints what limpid alone has written, as it is: a terminal is meant to obey a drawing. That the reader has gone
/// (`limpid show … | head`) changes neither the rest of the work nor the exit code.
fn print_own(text: impl Display) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(cause) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.context("cannot write to stdout"),
    }
}

/// What a path leads to, by the first bytes of a file and never by its name.
enum Kind {
    /// A folder.
    Folder,
    /// A Parquet file.
    Parquet,
    /// A picture.
    Picture,
    /// A NumPy array.
    Array,
    /// Anything else: IDX, or something that reading it as IDX tells.
    Idx,
}

/// Looks at a path.
fn kind(path: &Path) -> Result<Kind> {
    let mut start = Vec::new();
    if path.is_dir() {
        return Ok(Kind::Folder);
    }
    // Whatever else there is, a pipe say, can be read once at most, and might never end.
    if path.exists() && !path.is_file() {
        return Err(error::data(format!("{} is neither a file nor a folder", path.display())));
    }
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    read.map_err(|cause| match cause.kind() {
        ErrorKind::NotFound => error::settings(format!("{} does not exist", path.display())),
        _ => anyhow::Error::new(cause).context(format!("cannot read {}", path.display())),
    })?;
    Ok(match start.as_slice() {
        [b'P', b'A', b'R', b'1', ..] => Kind::Parquet,
        start if source::is_picture(start) => Kind::Picture,
        start if start.starts_with(b"\x93NUMPY") => Kind::Array,
        _ => Kind::Idx,
    })
}

/// What `load` makes of the model in a folder, whose files are checked against the receipt of the run that trained it, if that is
/// there: a wrong bit in a weight would show nowhere else.
///
/// # Errors
/// Damage, and what `load` fails with.
fn of_checked_model<T>(folder: &Path, load: impl Fn() -> Result<T>) -> Result<T> {
    steadily(&[folder.to_owned()], || {
        let Some(receipt) = whole_receipt_in(folder)? else { return load() };
        // Checked after it was loaded: what has rotted before then has rotted now.
        let loaded = load();
        check_model(folder, &receipt).and(loaded)
    })
}

/// Refuses to write into the result of a stage. The place need not exist.
fn refuse_results(place: &Path) -> Result<()> {
    let near = local::nearest_real(place).unwrap_or_default();
    match near.ancestors().find(|folder| folder.join(RECEIPT).is_file()) {
        Some(result) => {
            let (place, result) = (place.display(), result.display());
            Err(error::settings(format!("{place} cannot be written to: {result} is the result of a run")))
        }
        None => Ok(()),
    }
}

/// Digests the files of a model that are used.
fn check_model(folder: &Path, receipt: &Receipt) -> Result<()> {
    // The history is not used, and which of the weights are is for the model to say.
    for output in receipt.outputs.iter().filter(|output| !output.name.ends_with(".parquet")) {
        let there = folder.join(&output.name).exists();
        if let Some(damage) = there.then(|| output_damage(output, folder, true)).transpose()?.flatten() {
            return Err(error::data(format!("the model in {} is damaged: {damage}", folder.display())));
        }
    }
    Ok(())
}

/// The pipeline and the stages that the arguments mean.
fn load(args: &PipelineArgs) -> Result<(Pipeline, Selection)> {
    let pipeline = config::load(&args.pipeline, &args.set)?;
    let selection = match &args.only {
        Some(stage) => Selection { from: Some(stage.clone()), to: Some(stage.clone()) },
        None => Selection { from: args.from.clone(), to: args.to.clone() },
    };
    Ok((pipeline, selection))
}

/// Where the progress of work is told.
fn progress(args: &WorkArgs) -> Progress {
    Progress::new(args.log).every(args.log_every)
}

/// The number of threads, which rayon is told too.
fn threads(given: Option<u16>) -> Result<usize> {
    let available = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = given.map_or_else(available, usize::from);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start the threads")?;
    Ok(threads)
}
