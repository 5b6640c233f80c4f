//! Problems of settings, collected so that all are reported at once.

use std::path::{Path, PathBuf};

use super::KeyPath;
use crate::store::url::is_url;

/// A setting that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The setting.
    pub path: KeyPath,
    /// What was found and what was expected.
    pub message: String,
    /// Whether it is one whatever is wrong inside the setting, and cannot follow from that.
    pub stands_alone: bool,
}

/// The problems found so far.
#[derive(Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a setting at `path` or inside it has a problem.
    pub fn any_within(&self, path: &str) -> bool {
        let path = path.into();
        self.0.iter().any(|problem| problem.path.is_within(&path))
    }

    /// Adds a problem of the setting at `path`.
    pub fn add(&mut self, path: &str, message: impl Into<String>) {
        self.add_at(path.into(), message);
    }

    /// The same, of a path that may lead into a list.
    pub fn add_at(&mut self, path: KeyPath, message: impl Into<String>) {
        self.0.push(Problem { path, message: message.into(), stands_alone: false });
    }

    /// Returns a value that default.toml or the pipeline file must give; adds a problem if neither does.
    pub fn required<T>(&mut self, path: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(path, format!("`{path}` is missing"));
        }
        value
    }
}

/// A table of a pipeline file that is being resolved.
pub struct Section<'a> {
    path: KeyPath,
    folder: &'a Path,
    problems: &'a mut Problems,
}

impl<'a> Section<'a> {
    /// The table called `name`, as in `source.folder`, of a pipeline file in `folder`.
    pub fn new(name: &str, folder: &'a Path, problems: &'a mut Problems) -> Self {
        Self { path: name.into(), folder, problems }
    }

    /// The table `key` in this one.
    pub fn inner(&mut self, key: &str) -> Section<'_> {
        Section { path: self.path.name(key), folder: self.folder, problems: self.problems }
    }

    /// The table at this index, if this is a list of them.
    pub fn entry(&mut self, index: usize) -> Section<'_> {
        Section { path: self.path.index(index), folder: self.folder, problems: self.problems }
    }

    /// Whether it, or a setting inside it, has a problem.
    pub fn has_problem(&self) -> bool {
        self.problems.0.iter().any(|problem| problem.path.is_within(&self.path))
    }

    /// Adds a problem of the setting `key`.
    pub fn add(&mut self, key: &str, message: impl Into<String>) {
        self.problems.add_at(self.path.name(key), message);
    }

    /// Adds a problem of the table as a whole.
    pub fn add_to_all(&mut self, message: impl Into<String>) {
        self.problems.add_at(self.path.clone(), message);
    }

    /// As [`Problems::required`], of the setting `key`.
    pub fn required<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            let path = self.path.name(key);
            self.add(key, format!("`{path}` is missing"));
        }
        value
    }

    /// Resolves a path of the pipeline file: a relative one starts at the folder of that file, a URL stays as it is.
    pub fn file(&self, path: String) -> PathBuf {
        if is_url(path.as_ref()) { path.into() } else { self.folder.join(path) }
    }

    /// Adds a problem if more than one table was chosen, or none although one is required.
    pub fn one_of(&mut self, choices: &[(&str, bool)], optional: bool) {
        let name = &self.path;
        let chosen: Vec<_> = choices.iter().filter(|(_, chosen)| *chosen).map(|(key, _)| *key).collect();
        if let [_, .., last] = chosen[..] {
            let message = format!("[{name}] names {} at once; keep one", chosen.join(" and "));
            self.problems.0.push(Problem { path: name.name(last), message, stands_alone: true });
        } else if chosen.is_empty() && !optional {
            let keys: Vec<_> = choices.iter().map(|(key, _)| format!("`{key} = {{}}`")).collect();
            let message = format!("[{name}] needs one of {}", keys.join(", "));
            self.add_to_all(message);
        }
    }
}
