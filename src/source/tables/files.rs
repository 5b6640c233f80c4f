//! Finds the Parquet files of each split, by setting, pattern, or name.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use glob::MatchOptions;

use super::settings::ParquetSettings;
use crate::image::PerSplit;
use crate::progress::Progress;
use crate::source::Outside;
use crate::source::split_name::{Role, roles};
use crate::source::walk::{Walk, is_aside, tell_repeated};
use crate::store::url::is_url;
use crate::store::{self, PathKind, nearest_real, real};
use crate::{error, table};

/// Advice for names that do not show the splits.
const ADVICE: &str =
    "name the files with source.parquet.train and .test, or let the splits be drawn with .test-fraction";

/// The files of each split, sorted by path; all in the first if the splits are drawn, and none for validation if there are none.
///
/// # Errors
/// A folder that cannot be read, an invalid pattern, no files, a file that is in two splits.
pub fn splits(settings: &ParquetSettings) -> Result<PerSplit<Vec<PathBuf>>> {
    disjoint(candidates(settings)?, ADVICE)
}

/// Refuses files that are in two splits, with advice.
///
/// # Errors
/// There is one.
pub fn disjoint(splits: PerSplit<Vec<PathBuf>>, advice: &str) -> Result<PerSplit<Vec<PathBuf>>> {
    let mut seen = HashSet::new();
    // Backwards, so that the message names a file that would be trained on.
    for files in splits.iter().rev() {
        let places: Vec<_> = files.iter().map(|path| real(path)).collect();
        if let Some((shared, _)) = files.iter().zip(&places).find(|(_, place)| seen.contains(*place)) {
            let message =
                format!("{} would be in both splits: a model must not be tested on what it has seen", shared.display());
            return Err(error::data(format!("{message}; {advice}")));
        }
        seen.extend(places);
    }
    Ok(splits)
}

fn candidates(settings: &ParquetSettings) -> Result<PerSplit<Vec<PathBuf>>> {
    let some = |pattern: &Option<PathBuf>| pattern.as_deref().map_or(Ok(Vec::new()), matching);
    match settings {
        ParquetSettings { path: Some(folder), test_fraction: Some(_), .. } => {
            Ok([below(folder)?, Vec::new(), Vec::new()])
        }
        ParquetSettings { path: Some(folder), .. } => in_folder(folder),
        ParquetSettings { train: Some(train), test, validation, .. } => {
            Ok([matching(train)?, some(test)?, some(validation)?])
        }
        _ => Err(error::bug("a Parquet source without files")),
    }
}

/// The files by setting.
///
/// # Errors
/// As [`splits`].
pub fn files(settings: &ParquetSettings) -> Result<Vec<(&'static str, Outside)>> {
    let splits = splits(settings)?;
    Ok(match settings {
        ParquetSettings { path: Some(folder), .. } => {
            vec![("source.parquet.path", named(folder, &splits.concat()))]
        }
        ParquetSettings { train, test, validation, .. } => {
            let settings = ["source.parquet.train", "source.parquet.test", "source.parquet.validation"];
            let files = settings.into_iter().zip([train, test, validation]).zip(&splits);
            let files =
                files.filter_map(|((setting, pattern), files)| Some((setting, outside(pattern.as_deref()?, files))));
            files.collect()
        }
    })
}

/// These files below a folder.
fn named(root: &Path, files: &[PathBuf]) -> Outside {
    let names = files.iter().map(|path| path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned());
    Outside::Files(root.to_owned(), names.collect())
}

/// The files that match a pattern, by their names below its fixed part.
pub fn outside(pattern: &Path, files: &[PathBuf]) -> Outside {
    match fixed_part(pattern) {
        folder if folder.as_os_str().is_empty() => named(Path::new("."), files),
        folder => named(folder, files),
    }
}

/// The folder of the patterns with `**` around `place`, where more files may match.
pub fn folder_around<'a>(patterns: impl Iterator<Item = &'a Path>, place: &Path) -> Option<&'a Path> {
    let near = nearest_real(place)?;
    let deep = |pattern: &&Path| pattern.components().any(|part| part.as_os_str() == "**");
    let around = |folder: &&Path| real(folder).is_some_and(|folder| near.starts_with(folder));
    patterns.filter(deep).map(fixed_part).find(around)
}

/// The longest start of a pattern that is an existing folder, even with special characters in its name; empty for the working
/// folder.
pub fn fixed_part(pattern: &Path) -> &Path {
    pattern.ancestors().skip(1).find(|start| store::is_folder(start)).unwrap_or(Path::new(""))
}

/// The files that match a pattern, sorted by path; the pattern itself if it is a file.
///
/// # Errors
/// Text that is no pattern, no such files.
pub fn matching(pattern: &Path) -> Result<Vec<PathBuf>> {
    found(pattern, &Progress::silent())
}

/// As [`matching`], and tells of links to what is read anyway.
fn found(pattern: &Path, progress: &Progress) -> Result<Vec<PathBuf>> {
    if store::is_file(pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    // An existing folder is taken literally, even if its name has brackets or the like.
    let (text, folder) = (pattern.to_string_lossy(), fixed_part(pattern));
    let rest = pattern.strip_prefix(folder).unwrap_or(pattern);
    if rest.components().any(|part| part.as_os_str() == "**") {
        return deep(folder, rest, &text, progress);
    }
    if is_url(pattern) {
        return deep(folder, rest, &text, progress);
    }
    let escaped = Path::new(&glob::Pattern::escape(&folder.to_string_lossy())).join(rest);
    let found = glob::glob(&escaped.to_string_lossy()).map_err(|cause| no_pattern(&text, &cause))?;
    let mut files = Vec::new();
    for path in found {
        let path = path.with_context(|| format!("cannot read what {text} means"))?;
        if path.is_file() {
            files.push(path);
        }
    }
    sorted(files, &text, progress)
}

/// The files below a folder that match a pattern with `**`; the `glob` crate would follow cyclic links for ever.
fn deep(folder: &Path, pattern: &Path, text: &str, progress: &Progress) -> Result<Vec<PathBuf>> {
    let pattern = glob::Pattern::new(&pattern.to_string_lossy()).map_err(|cause| no_pattern(text, &cause))?;
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
    let inside = |path: &Path| pattern.matches_path_with(path.strip_prefix(folder).unwrap_or(path), options);
    let start = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let named = |path: &Path| path.strip_prefix(".").unwrap_or(path).to_owned();
    let walk = Walk::new(&[start.to_owned()], true, &|path| inside(&named(path)))?;
    walk.tell(progress);
    sorted(walk.files.iter().map(|path| named(path)).collect(), text, progress)
}

/// Sorted by path; a file that several links lead to is kept once.
fn sorted(mut files: Vec<PathBuf>, text: &str, progress: &Progress) -> Result<Vec<PathBuf>> {
    let mut seen = HashSet::new();
    files.sort_by_cached_key(|path| (path.is_symlink(), path.clone()));
    let repeated: Vec<_> = files.extract_if(.., |path| !seen.insert(real(path))).collect();
    tell_repeated(repeated.len() as u64, repeated.first(), progress);
    files.sort();
    if files.is_empty() {
        return Err(error::data(format!("{text} does not exist")));
    }
    Ok(files)
}

/// Tells of links to what the patterns match anyway.
///
/// # Errors
/// As [`matching`].
pub fn tell_links<'a>(patterns: impl Iterator<Item = &'a Path>, progress: &Progress) -> Result<()> {
    // In a store there are none, and listing takes requests.
    patterns.filter(|pattern| !is_url(pattern)).try_for_each(|pattern| found(pattern, progress).map(|_| ()))
}

fn no_pattern(text: &str, cause: &glob::PatternError) -> anyhow::Error {
    error::settings(format!("{text} is not a pattern: {cause}"))
}

/// The Parquet files below a folder.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let kind = store::of(folder).kind(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    if kind != Some(PathKind::Folder) {
        let what = if kind.is_some() { "is not a folder" } else { "does not exist" };
        return Err(error::data(format!("{} {what}", folder.display())));
    }
    matching(&folder.join("**/*.parquet"))
        .map_err(|_| error::data(format!("{} holds no Parquet files", folder.display())))
}

/// The Parquet files below a folder whose paths name their split. Those for validation are for testing where no others are.
fn in_folder(folder: &Path) -> Result<PerSplit<Vec<PathBuf>>> {
    let all = below(folder)?;
    let roles: Vec<_> =
        all.iter().map(|path| roles(&path.strip_prefix(folder).unwrap_or(path).to_string_lossy())).collect();
    let named = |role: Role| -> Vec<PathBuf> {
        all.iter().zip(&roles).filter(|(_, roles)| roles.contains(&role)).map(|(path, _)| path.clone()).collect()
    };
    let (train, mut test, mut validation) = (named(Role::Train), named(Role::Test), Vec::new());
    if test.is_empty() {
        test = named(Role::Validation);
    } else {
        // Not what may be trained on as well, as trainval in PASCAL VOC.
        let alone = |roles: &BTreeSet<Role>| roles.iter().eq([&Role::Validation]);
        let files = all.iter().zip(&roles).filter(|(_, roles)| alone(roles));
        validation.extend(files.map(|(path, _)| path.clone()));
    }
    for (files, word) in [(&train, "train"), (&test, "test")] {
        if files.is_empty() {
            let (folder, found) = (folder.display(), all[0].display());
            let message = format!("{folder} has no Parquet file with `{word}` in its name (but, for example, {found})");
            return Err(error::data(format!("{message}; {ADVICE}")));
        }
    }
    Ok([train, test, validation])
}

/// Says how many rows the Parquet files below the folder have that are in no split.
///
/// # Errors
/// A folder that cannot be read.
pub fn tell_passed_over(
    settings: &ParquetSettings,
    splits: &PerSplit<Vec<PathBuf>>,
    progress: &Progress,
) -> Result<()> {
    let ParquetSettings { path, train, test, validation, .. } = settings;
    let in_folder = path.as_ref().map(|folder| folder.join("**/*.parquet"));
    tell_links([&in_folder, train, test, validation].into_iter().flatten().map(PathBuf::as_path), progress)?;
    let Some(folder) = path else { return Ok(()) };
    let strays = RefCell::new((0, None));
    let count = |path: &Path| {
        let name = path.file_name().map_or(&[][..], std::ffi::OsStr::as_encoded_bytes);
        // Programs leave marks beside tables whose names begin with an underscore.
        if !(name.ends_with(b".parquet") || name.starts_with(b"_") || is_aside(path)) {
            let (count, example) = &mut *strays.borrow_mut();
            *count += 1;
            *example = example.take().into_iter().chain([path.to_owned()]).min();
        }
        false
    };
    Walk::new(std::slice::from_ref(folder), false, &count)?;
    if let (count, Some(example)) = strays.into_inner() {
        let example = example.display();
        progress.note(&format!("passed over: {count} files that are no Parquet by their names, such as {example}"));
    }
    let said =
        |path: &&PathBuf| roles(&path.strip_prefix(folder).unwrap_or(path).to_string_lossy()).contains(&Role::Test);
    if let Some(example) = splits[0].iter().find(said).filter(|_| settings.test_fraction.is_some()) {
        progress.note(&format!(
            "test images are drawn from all files, although names say splits, as {}; without source.parquet.test-fraction, these count",
            example.display()
        ));
    }
    let read: HashSet<_> = splits.iter().flatten().collect();
    let others: Vec<_> = below(folder)?.into_iter().filter(|path| !read.contains(path)).collect();
    if let [example, ..] = &others[..] {
        let rows =
            |path: &PathBuf| table::footer(path).map_or(0, |footer| footer.metadata().file_metadata().num_rows());
        let (count, rows, example) = (others.len(), others.iter().map(rows).sum::<i64>(), example.display());
        progress.note(&format!(
            "passed over: {rows} rows in {count} files of no split, such as {example}; source.parquet.train and .test, patterns \
             of paths, say which files are read"
        ));
    }
    Ok(())
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
        let splits = || in_folder(folder.path()).and_then(|splits| disjoint(splits, ADVICE));
        assert!(splits().expect_err("no test").to_string().contains("`test` in its name"));
        write("train-and-test/0000.parquet");
        assert!(splits().expect_err("is of both").to_string().contains("0000.parquet would be in both splits"));
        std::fs::remove_dir_all(folder.path().join("train-and-test")).expect("removed");
        write("default/validation/0000.parquet");
        let [train, test, none] = in_folder(folder.path()).expect("has both");
        assert_eq!((train.len(), test.len(), none.len()), (2, 1, 0));
        assert!(train[0].ends_with("train-00000-of-00002.parquet"));
        write("test/0000.parquet");
        let [_, test, validation] = splits().expect("has all");
        assert!(test[0].ends_with("test/0000.parquet") && validation[0].ends_with("validation/0000.parquet"));
        // An existing folder is no pattern.
        write("run[1]/a.parquet");
        write("run1/b.parquet");
        let pattern = folder.path().join("run[1]/*.parquet");
        assert_eq!(matching(&pattern).expect("is there"), [folder.path().join("run[1]/a.parquet")]);
        assert_eq!(fixed_part(&pattern), folder.path().join("run[1]"));
        assert_eq!(below(&folder.path().join("run[1]")).expect("is there").len(), 1);
        let pattern = folder.path().join("run[12]/*.parquet");
        assert_eq!(matching(&pattern).expect("is there"), [folder.path().join("run1/b.parquet")]);
    }
}
