//! A file as a folder or a table lists it, and how tables name files, labels and splits.

use std::path::{Component, Path};

use crate::image::Split;
use crate::source::split_name::{Name, Role};

/// Usual names of the column of labels.
pub const LABEL_COLUMNS: [&str; 3] = ["label", "class", "category"];
/// Usual names of the column of splits.
pub const SPLIT_COLUMNS: [&str; 1] = ["split"];

/// A file, its split if it is not drawn, and the name of its label.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// Its path below the folder.
    pub path: String,
    /// Its split.
    pub split: Option<Split>,
    /// The name of its label.
    pub label: Option<String>,
}

/// The position of the first of these names that is a column, ignoring case.
pub fn column(columns: &[String], names: &[&str]) -> Option<usize> {
    names.iter().find_map(|wanted| columns.iter().position(|name| name.to_lowercase() == *wanted))
}

/// The split that a table names.
///
/// # Errors
/// A name of none; as text.
pub fn split_named(name: &str) -> Result<Split, String> {
    match Name::read(name).map(|name| name.role) {
        Some(Role::Train) => Ok(Split::Train),
        Some(Role::Test) => Ok(Split::Test),
        Some(Role::Validation) => Ok(Split::Validation),
        None => Err(format!("the split is {name:?}, expected train, test or validation")),
    }
}

/// Whether a path may leave the folder in which it begins, judged without the file system.
pub fn leads_out(path: &Path) -> bool {
    let depth = path.components().try_fold(0_usize, |depth, part| match part {
        Component::Normal(_) => Some(depth + 1),
        Component::CurDir => Some(depth),
        Component::ParentDir => depth.checked_sub(1),
        Component::RootDir | Component::Prefix(_) => None,
    });
    depth.is_none()
}

/// A path without empty and `.` parts, so that a file has one name.
pub fn normal(path: &str) -> String {
    let root = if path.starts_with('/') { "/" } else { "" };
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    format!("{root}{}", parts.join("/"))
}
