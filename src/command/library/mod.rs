//! What the commands do as functions, for programs that this library is a part of: with values in place of printed text, and images in
//! memory in place of files. limpid's Python module calls them.

mod images;
mod model;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::results::Results;
use super::run::local;
use super::{Command, show};
use crate::error;
use crate::pipeline::metrics;
use crate::progress::Progress;
use crate::record::workspace::Workspace;
use crate::stage;
pub use crate::store::url::{absolute, is_url};
use crate::store::{MOST_TEXT, failpoint, read_text};
use crate::table::TableFile;
pub use images::{Images, Reading, write_rows};
pub use model::{Model, Rows};

/// Runs a pipeline as `limpid run` does with these arguments, `["run", "p.toml", "--to", "encode"]`, with
/// the settings of a document in place of those of the file, if there is one.
///
/// # Errors
/// Those of the command; a missed gate too, whose results are published.
pub fn run(arguments: &[String], document: Option<Map<String, Value>>, progress: &Progress) -> Result<()> {
    failpoint::install()?;
    match parsed(arguments)? {
        Command::Run(args) => args.run(document, &local, progress, &|_| Ok(())),
        _ => Err(error::bug("another command was called as run")),
    }
}

/// What `limpid plan --json` prints with these arguments, likewise.
///
/// # Errors
/// Those of the command.
pub fn plan(arguments: &[String], document: Option<Map<String, Value>>, progress: &Progress) -> Result<Value> {
    match parsed(arguments)? {
        Command::Plan(args) => Ok(serde_json::to_value(args.plan(document, progress)?.2)?),
        _ => Err(error::bug("another command was called as plan")),
    }
}

/// The run directory that `run` with these arguments would write to.
///
/// # Errors
/// Invalid settings.
pub fn directory(arguments: &[String], document: Option<Map<String, Value>>) -> Result<PathBuf> {
    match parsed(arguments)? {
        Command::Run(args) => args.directory(document),
        _ => Err(error::bug("another command was called as run")),
    }
}

/// What `limpid show --json` prints of a run.
///
/// # Errors
/// Those of the command.
pub fn show(run: &Path) -> Result<Value> {
    Ok(show::as_json(&Results::read(&Workspace::existing(run)?)?))
}

/// The scores of a run; null if it has not been evaluated.
///
/// # Errors
/// As [`show`].
pub fn scores(run: &Path) -> Result<Value> {
    Ok(serde_json::to_value(metrics(&Workspace::existing(run)?)?)?)
}

/// The folder of a stage's published result; in a store, that of its generation.
///
/// # Errors
/// No run directory, no such stage.
pub fn folder(run: &Path, stage: &str) -> Result<PathBuf> {
    let workspace = Workspace::existing(run)?;
    let stage = stage::named(stage).ok_or_else(|| error::settings(format!("there is no stage {stage}")))?;
    Ok(workspace.stage(stage.name()))
}

/// A file of a run that is text, as its report is.
///
/// # Errors
/// It cannot be read.
pub fn text(path: &Path) -> Result<String> {
    read_text(path, MOST_TEXT).with_context(|| format!("cannot read {}", path.display()))
}

fn parsed(arguments: &[String]) -> Result<Command> {
    let arguments: Vec<_> = ["limpid".into()].into_iter().chain(arguments.iter().map(Into::into)).collect();
    let cli = super::parse(&arguments).map_err(|cause| {
        let text = cause.render().to_string();
        let text = text.split("\n\nUsage:").next().unwrap_or_default().trim();
        error::settings(text.strip_prefix("error: ").unwrap_or(text))
    })?;
    Ok(cli.command)
}

/// Opens a table of a run, or any other that limpid wrote.
///
/// # Errors
/// As [`TableFile::open`].
pub fn table(path: &Path) -> Result<TableFile> {
    TableFile::open(path)
}
