//! limpid's errors as Python's exceptions, which its package defines: a class for each kind.

use std::io;

use limpid::error::{self, Kind};
use pyo3::prelude::*;
use pyo3::types::PyType;

const MODULE: &str = "limpid";

/// The exception for an error, with the message that the command prints, and the number of an error of the system.
pub fn exception(py: Python<'_>, error: &anyhow::Error) -> PyErr {
    let kind = error::kind(error);
    let exception = of_kind(py, kind, error::message(error));
    let of_system = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).and_then(io::Error::raw_os_error);
    if let (Kind::Io, Some(number)) = (kind, of_system)
        && let Err(cause) = exception.value(py).setattr("errno", number)
    {
        return cause;
    }
    exception
}

/// The exception of a kind with this message.
pub fn of_kind(py: Python<'_>, kind: Kind, message: String) -> PyErr {
    let class = match kind {
        Kind::Settings => "SettingsError",
        Kind::Data => "DataError",
        Kind::GateMissed => "GateMissed",
        Kind::TryAgain => "Interrupted",
        Kind::Io => "FileError",
        Kind::WorkPending | Kind::Bug => "Error",
    };
    let class = py.import(MODULE).and_then(|module| Ok(module.getattr(class)?.cast_into::<PyType>()?));
    class.map_or_else(|cause| cause, |class| PyErr::from_type(class, (message,)))
}
