//! Where an array is: in a file, in an archive, or in memory.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;

use super::element::Element;
use crate::error;

/// The location of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file of its own.
    File(PathBuf),
    /// A member of an archive, without the `.npy` of its name.
    Member(PathBuf, String),
    /// Memory.
    Held(Arc<Held>),
}

/// An array in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it is called in messages.
    pub name: String,
    /// The type of its numbers, as NumPy describes it: `<f4`.
    pub description: String,
    /// Its sizes, the number of items first.
    pub sizes: Vec<u64>,
    /// Its numbers, in the order in which the last index counts up first.
    pub numbers: Bytes,
}

impl Held {
    /// The type of its numbers.
    ///
    /// # Errors
    /// It is none that limpid reads.
    pub fn element(&self) -> Result<Element> {
        element(&self.name, Some(&self.description))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::File(path) => write!(f, "{}", path.display()),
            Location::Member(path, name) => write!(f, "{} ({name})", path.display()),
            Location::Held(held) => f.write_str(&held.name),
        }
    }
}

/// The type of numbers that a description says.
///
/// # Errors
/// It is none that limpid reads; `name` names the array.
pub fn element(name: &impl fmt::Display, description: Option<&str>) -> Result<Element> {
    description.and_then(Element::parse).ok_or_else(|| {
        let found = description.unwrap_or("?");
        let advice = match found {
            "|O" => "; objects may be arrays of different sizes: write each as a picture, and read the folder with source.folder",
            _ => "",
        };
        error::data(format!(
            "{name} has elements of type {found}; limpid reads booleans, and integers and floats of up to 64 bits{advice}"
        ))
    })
}
