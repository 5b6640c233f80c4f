//! Files outside the run, whose content decides the images.

use std::path::{Path, PathBuf};

/// Files outside the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outside {
    /// One file.
    File(PathBuf),
    /// Files below a folder, by their relative paths, which are digested like their content.
    Files(PathBuf, Vec<String>),
}

impl Outside {
    /// These files, by their names below the folder that they have in common.
    pub fn of(files: &[&Path]) -> Self {
        let root = common_folder(files);
        let inside = |path: &&Path| path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned();
        Self::Files(root.to_owned(), files.iter().map(inside).collect())
    }

    /// The paths of all files.
    pub fn paths(self) -> Vec<PathBuf> {
        match self {
            Self::File(path) => vec![path],
            Self::Files(root, members) => members.iter().map(|member| root.join(member)).collect(),
        }
    }
}

/// The innermost folder that has all of some files.
pub fn common_folder<'a>(files: &[&'a Path]) -> &'a Path {
    let has_all = |folder: &&Path| files.iter().all(|path| path.starts_with(folder));
    let folder = files.first().and_then(|first| first.ancestors().skip(1).find(has_all));
    folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
