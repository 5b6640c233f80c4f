//! Reads a pipeline file (TOML) with its overrides and resolves it to an immutable [`Pipeline`].
//!
//! ```text
//! file ──▶ document (values with positions) ──▶ --set ──▶ check against the schema of raw ──▶ + default.toml
//!      ──▶ RawPipeline ──▶ resolve ──▶ Pipeline
//! ```
//!
//! All problems that can be found are reported in one error, each with its position in the file.

mod check;
mod document;
mod pairs;
mod raw;
mod resolve;
mod together;
mod vectors;

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value};

pub use resolve::{Denoise, Encode, Evaluate, Output, Pipeline};

use crate::error::{self, WrongSetting};
use crate::setting::{KeyPath, Problem};
use crate::source;
use crate::store::read_text;
use document::Document;

/// Largest pipeline file, in bytes: a hundred times one that sets every key.
const MOST_BYTES: u64 = 1 << 20;

/// All defaults with their explanation, embedded so that the documented values are those in use.
pub const DEFAULTS: &str = include_str!("default.toml");

/// The JSON schema of pipeline files.
pub fn schema() -> Value {
    schemars::schema_for!(raw::RawPipeline).to_value()
}

/// Reads and resolves a pipeline file with `--set` overrides.
///
/// # Errors
/// A file that cannot be read or is too large, or invalid settings: one error that lists every problem.
pub fn load(path: &Path, overrides: &[String]) -> Result<Pipeline> {
    let name = path.display();
    if path.is_dir() {
        let advice = format!("a pipeline is a TOML file, and limpid init {name} writes one for the data in a folder");
        return Err(error::settings(format!("{name} is a folder: {advice}")));
    }
    let text = read_text(path, MOST_BYTES).map_err(|cause| {
        let cause = error::settings(format!("cannot read the pipeline file {name}: {cause}"));
        source::explained(path, "a pipeline, a TOML file", cause)
    })?;
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("pipeline");
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&path.display().to_string(), &text, overrides, stem, folder)
}

/// Resolves the text of a pipeline file. `name` names the file in messages, `stem` is the default name of the run, and relative
/// paths start at `folder`.
///
/// # Errors
/// Invalid settings: one error that lists every problem.
pub fn parse(name: &str, text: &str, overrides: &[String], stem: &str, folder: &Path) -> Result<Pipeline> {
    resolved(Document::parse(name, text)?, overrides, stem, folder)
}

/// Resolves the settings of a pipeline that another program has as values. Relative paths start where the process does.
///
/// # Errors
/// Invalid settings: one error that lists every problem.
pub fn of_document(settings: Map<String, Value>, overrides: &[String]) -> Result<Pipeline> {
    resolved(Document::of("the pipeline", settings), overrides, "pipeline", Path::new(""))
}

fn resolved(mut document: Document, overrides: &[String], stem: &str, folder: &Path) -> Result<Pipeline> {
    for assignment in overrides {
        document.set(assignment)?;
    }
    let mut problems = check::check(&schema(), &document.root);
    // Settings that fail the check are removed and the others resolved, so that all problems are reported at once.
    for problem in &problems {
        remove(&mut document.root, &problem.path);
    }
    document.fill_from(&Document::parse("default.toml", DEFAULTS)?.root);
    let raw = serde_json::from_value(Value::Object(document.root.clone()))
        .map_err(|cause| error::bug(format!("settings passed the schema and yet: {cause}")))?;
    match resolve::resolve(raw, stem, folder) {
        Ok(pipeline) if problems.is_empty() => return Ok(Pipeline { places: document.places(), ..pipeline }),
        Ok(_) => {}
        Err(more) => {
            let known = |path: &KeyPath| problems.iter().any(|problem| problem.path.is_within(path));
            let more: Vec<_> =
                more.into_iter().filter(|problem| problem.stands_alone || !known(&problem.path)).collect();
            problems.extend(more);
        }
    }
    let count = match problems.len() {
        1 => "a problem".to_owned(),
        count => format!("{count} problems"),
    };
    let (lines, wrong): (String, Vec<_>) = problems.into_iter().map(|problem| told(problem, &document)).unzip();
    Err(error::wrong_settings(format!("the settings have {count}:{lines}"), wrong))
}

/// A problem as a line for people, and for programs.
fn told(Problem { path, message, .. }: Problem, document: &Document) -> (String, WrongSetting) {
    // A message that begins with a setting inside of this one names it.
    let inner = message.split(' ').next().filter(|word| word.starts_with(&format!("{path}.")));
    let key = inner.map_or(path, KeyPath::from);
    let place = document.place(&key).to_string();
    let line =
        if inner.is_some() { format!("\n  {place}: {message}") } else { format!("\n  {place}: {key}: {message}") };
    (line, WrongSetting { key: key.to_string(), place, message })
}

/// Removes a setting: an entry of a list takes the whole list with it, but a setting in a table in a list does not.
fn remove(root: &mut serde_json::Map<String, Value>, path: &KeyPath) {
    let (table, name) = path.table_and_name();
    if let (Some(table), Some(name)) = (table.within(root), name) {
        table.remove(name);
    }
}

#[cfg(test)]
mod tests;
