//! Which files belong to which split.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::config::ParquetSettings;
use crate::error;
use crate::source::Outside;

/// Words in names that say what a file is for, as Hugging Face has them.
const TRAIN: [&str; 2] = ["train", "training"];
const TEST: [&str; 3] = ["test", "testing", "eval"];
/// What tests where nothing else does.
const VALIDATION: [&str; 4] = ["validation", "valid", "val", "dev"];

/// What to do where names do not say which files are for what.
const ADVICE: &str =
    "name the files with source.parquet.train and .test, or let the splits be drawn with .test-fraction";

/// The files of train and test, each in the order of their paths; all in the first where the splits are drawn.
///
/// # Errors
/// A folder that cannot be read, a pattern that is none, no files, one that is of both splits.
pub fn splits(settings: &ParquetSettings) -> Result<[Vec<PathBuf>; 2]> {
    disjoint(candidates(settings)?)
}

/// Refuses files that would be in both splits.
fn disjoint([train, test]: [Vec<PathBuf>; 2]) -> Result<[Vec<PathBuf>; 2]> {
    if let Some(shared) = train.iter().find(|path| test.contains(path)) {
        let message =
            format!("{} would be in both splits: a model must not be tested on what it has seen", shared.display());
        return Err(error::data(format!("{message}; {ADVICE}")));
    }
    Ok([train, test])
}

fn candidates(settings: &ParquetSettings) -> Result<[Vec<PathBuf>; 2]> {
    match settings {
        ParquetSettings { path: Some(folder), test_fraction: Some(_), .. } => Ok([below(folder)?, Vec::new()]),
        ParquetSettings { train: Some(train), test_fraction: Some(_), .. } => Ok([matching(train)?, Vec::new()]),
        ParquetSettings { path: Some(folder), .. } => in_folder(folder),
        ParquetSettings { train: Some(train), test: Some(test), .. } => Ok([matching(train)?, matching(test)?]),
        _ => Err(error::bug("a Parquet source without files")),
    }
}

/// The files by setting.
///
/// # Errors
/// As [`splits`].
pub fn files(settings: &ParquetSettings) -> Result<Vec<(&'static str, Outside)>> {
    let [train, test] = splits(settings)?;
    let named = |root: &Path, files: Vec<PathBuf>| {
        let names = files.iter().map(|path| path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned());
        Outside::Files(root.to_owned(), names.collect())
    };
    Ok(match settings {
        ParquetSettings { path: Some(folder), .. } => {
            vec![("source.parquet.path", named(folder, [train, test].concat()))]
        }
        ParquetSettings { train: pattern, test: test_pattern, .. } => {
            let root = |pattern: &Option<PathBuf>| pattern.as_deref().map(fixed_part).unwrap_or_default();
            let of_test = test_pattern.as_ref().map(|_| ("source.parquet.test", named(&root(test_pattern), test)));
            [("source.parquet.train", named(&root(pattern), train))].into_iter().chain(of_test).collect()
        }
    })
}

/// The folder above the first part of a pattern that may stand for several names.
fn fixed_part(pattern: &Path) -> PathBuf {
    if pattern.is_file() {
        return folder_of(pattern);
    }
    let fixed = |part: &std::path::Component<'_>| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let fixed: PathBuf = pattern.components().take_while(fixed).collect();
    if fixed.is_dir() { fixed } else { folder_of(&fixed) }
}

/// The folder that a path is in; `.` if it says none.
fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// The files that a pattern means: itself, if there is such a file.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>> {
    if pattern.is_file() {
        return Ok(vec![pattern.to_owned()]);
    }
    let text = pattern.to_string_lossy();
    let found = glob::glob(&text).map_err(|cause| error::settings(format!("{text} is not a pattern: {cause}")))?;
    let mut files = Vec::new();
    for path in found {
        let path = path.with_context(|| format!("cannot read what {text} means"))?;
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(error::data(format!("{text} does not exist")));
    }
    Ok(files)
}

/// The Parquet files below a folder.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        let what = if folder.exists() { "is not a folder" } else { "does not exist" };
        return Err(error::data(format!("{} {what}", folder.display())));
    }
    matching(&Path::new(&glob::Pattern::escape(&folder.to_string_lossy())).join("**/*.parquet"))
        .map_err(|_| error::data(format!("{} holds no Parquet files", folder.display())))
}

/// The Parquet files below a folder whose paths say which split they are.
fn in_folder(folder: &Path) -> Result<[Vec<PathBuf>; 2]> {
    let all = below(folder)?;
    let named = |words: &[&str]| -> Vec<PathBuf> {
        let says = |path: &&PathBuf| {
            let inside = path.strip_prefix(folder).unwrap_or(path).to_string_lossy().to_lowercase();
            inside.split(|c: char| !c.is_alphanumeric()).any(|word| words.contains(&word))
        };
        all.iter().filter(says).cloned().collect()
    };
    let (train, mut test) = (named(&TRAIN), named(&TEST));
    if test.is_empty() {
        test = named(&VALIDATION);
    }
    for (files, word) in [(&train, "train"), (&test, "test")] {
        if files.is_empty() {
            let (folder, found) = (folder.display(), all[0].display());
            let message = format!("{folder} has no Parquet file with `{word}` in its name (but, for example, {found})");
            return Err(error::data(format!("{message}; {ADVICE}")));
        }
    }
    Ok([train, test])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_told_by_words_in_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("has a folder")).expect("created");
            std::fs::write(path, b"").expect("written");
        };
        for name in ["data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet", "constrain.parquet"] {
            write(name);
        }
        let splits = || in_folder(folder.path()).and_then(disjoint);
        assert!(splits().expect_err("no test").to_string().contains("`test` in its name"));
        write("train-and-test/0000.parquet");
        assert!(splits().expect_err("is of both").to_string().contains("0000.parquet would be in both splits"));
        std::fs::remove_dir_all(folder.path().join("train-and-test")).expect("removed");
        write("default/validation/0000.parquet");
        let [train, test] = in_folder(folder.path()).expect("has both");
        assert_eq!((train.len(), test.len()), (2, 1));
        assert!(train[0].ends_with("train-00000-of-00002.parquet"));
        write("test/0000.parquet");
        assert!(in_folder(folder.path()).expect("has both")[1][0].ends_with("test/0000.parquet"));
    }
}
