//! limpid for Python: the functions of the commands, without the interpreter's lock while they work.
//!
//! Everything is done by `limpid::command::library`; here are conversions alone. `python/limpid` is what users import.

mod errors;
mod images;
mod model;
mod table;
mod watch;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use limpid::command::{self, library};
use limpid::error::{self, Kind};
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use serde_json::{Map, Value};

use watch::watched;

/// Training allocates and frees the same few large tensors repeatedly; this allocator keeps their pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The settings of a pipeline as JSON.
fn document(text: Option<String>) -> Result<Option<Map<String, Value>>> {
    let parse =
        |text: String| serde_json::from_str(&text).map_err(|cause| error::settings(format!("the settings: {cause}")));
    text.map(parse).transpose()
}

/// The path of what is on a disk.
///
/// # Errors
/// It is in a store.
fn local(py: Python<'_>, location: &Path) -> PyResult<PathBuf> {
    if library::is_url(location) {
        let message =
            format!("{} is in a store and has no path; the attribute location has the URL", location.display());
        return Err(errors::of_kind(py, Kind::Settings, message));
    }
    Ok(location.to_owned())
}

fn json(value: &Value) -> Result<String> {
    serde_json::to_string(value).context("cannot write JSON")
}

#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::model::Model;
    #[pymodule_export]
    use super::table::Table;

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");

    /// Carries out a command line, and returns the exit code.
    #[pyfunction]
    fn main(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
        py.detach(|| command::main(&arguments))
    }

    /// Runs a pipeline.
    #[pyfunction]
    fn run(
        py: Python<'_>,
        arguments: Vec<String>,
        settings: Option<String>,
        reporter: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        watched(py, reporter, move |progress| library::run(&arguments, document(settings)?, progress))
    }

    /// The run directory of a pipeline, or its URL.
    #[pyfunction]
    fn directory(py: Python<'_>, arguments: Vec<String>, settings: Option<String>) -> PyResult<OsString> {
        watched(py, None, move |_| Ok(library::directory(&arguments, document(settings)?)?.into_os_string()))
    }

    /// The plans of the stages of a pipeline, as JSON.
    #[pyfunction]
    fn plan(py: Python<'_>, arguments: Vec<String>, settings: Option<String>) -> PyResult<String> {
        watched(py, None, move |progress| json(&library::plan(&arguments, document(settings)?, progress)?))
    }

    /// What a run holds, as JSON.
    #[pyfunction]
    fn show(py: Python<'_>, run: PathBuf) -> PyResult<String> {
        watched(py, None, move |_| json(&library::show(&run)?))
    }

    /// The path of what is on a disk.
    #[pyfunction]
    fn path(py: Python<'_>, location: PathBuf) -> PyResult<PathBuf> {
        local(py, &location)
    }

    /// Whether a path is a URL of a store.
    #[pyfunction]
    fn is_url(path: PathBuf) -> bool {
        library::is_url(&path)
    }

    /// The folder of a stage's result, or its URL.
    #[pyfunction]
    fn folder(py: Python<'_>, run: PathBuf, stage: String) -> PyResult<OsString> {
        watched(py, None, move |_| Ok(library::folder(&run, &stage)?.into_os_string()))
    }

    /// A file of a run that is text.
    #[pyfunction]
    fn text(py: Python<'_>, path: PathBuf) -> PyResult<String> {
        watched(py, None, move |_| library::text(&path))
    }

    /// Writes the rows of an array to a Parquet file in a folder.
    #[pyfunction]
    fn write_rows(py: Python<'_>, folder: PathBuf, name: String, rows: &Bound<'_, PyMemoryView>) -> PyResult<()> {
        let (rows, _) = images::array(rows)?;
        watched(py, None, move |_| library::write_rows(&folder, &name, &rows))
    }

    /// The scores of a run, as JSON.
    #[pyfunction]
    fn scores(py: Python<'_>, run: PathBuf) -> PyResult<String> {
        watched(py, None, move |_| json(&library::scores(&run)?))
    }
}
