//! Detects changes of files while they are read.
//!
//! Device, inode, size and times are compared before and after, without reading the content. ctime, which no program can set,
//! reveals a file that was edited and given its old modification time. Of an object, the version takes the place of these.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::Stat;
use super::url::is_url;
use crate::error;

/// Metadata by which a file is recognised as the same and unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    place: (u64, u64),
    stat: Stat,
}

/// Files, with their identity when the watch began.
pub struct Watch<'a> {
    list: Box<dyn Fn() -> Result<Vec<PathBuf>> + 'a>,
    seen: BTreeMap<PathBuf, Option<Identity>>,
}

impl<'a> Watch<'a> {
    /// Records the identity of the files that `list` returns.
    ///
    /// # Errors
    /// Errors of `list` or of the file system.
    pub fn new(list: impl Fn() -> Result<Vec<PathBuf>> + 'a) -> Result<Self> {
        let seen = identities(list()?, false)?;
        Ok(Self { list: Box::new(list), seen })
    }

    /// Checks that the same files are there, unchanged.
    ///
    /// # Errors
    /// A file was added, removed or changed: try again. Errors of `list` or of the file system.
    pub fn check(&self) -> Result<()> {
        let changed = |path: &Path, what: &str| {
            Err(error::try_again(format!("{} {what} while it was read; run the same command again", path.display())))
        };
        // Of many, a listing is made anew; a single one is asked for, and earlier listings of others stay.
        let alone = self.seen.len() <= 1;
        self.seen.keys().take(usize::from(!alone)).for_each(|first| super::of(first).look_again());
        let now = identities((self.list)()?, alone)?;
        if let Some(gone) = self.seen.keys().find(|path| !now.contains_key(*path)) {
            return changed(gone, "has gone");
        }
        if let Some(come) = now.keys().find(|path| !self.seen.contains_key(*path)) {
            return changed(come, "has come");
        }
        let differs = |(path, before): &(&PathBuf, &Option<Identity>)| now.get(*path) != Some(before);
        self.seen.iter().find(differs).map_or(Ok(()), |(path, _)| changed(path, "has changed"))
    }
}

/// The identities of the files at some paths, which are all of one store; as they are `now`, whatever earlier listings said.
fn identities(paths: Vec<PathBuf>, now: bool) -> Result<BTreeMap<PathBuf, Option<Identity>>> {
    let Some(root) = paths.first().filter(|first| is_url(first)) else {
        return paths.into_iter().map(|path| Ok((path.clone(), identity(&path)?))).collect();
    };
    let holds = |folder: &&Path| paths.iter().all(|path| path.starts_with(folder));
    let root = root.ancestors().skip(1).find(holds).unwrap_or(root).to_owned();
    let inside = |path: &PathBuf| path.strip_prefix(&root).unwrap_or(path).to_string_lossy().into_owned();
    let names: Vec<_> = paths.iter().map(inside).collect();
    let store = super::of(&root);
    let stats = if now { store.stats_now(&root, &names) } else { store.stats(&root, &names) };
    let stats = stats.with_context(|| format!("cannot read {}", root.display()))?;
    let identity = |stat: Option<Stat>| stat.map(|stat| Identity { place: (0, 0), stat });
    Ok(paths.into_iter().zip(stats.into_iter().map(identity)).collect())
}

/// The identity of the file at a path, with links followed; none if there is none.
fn identity(path: &Path) -> Result<Option<Identity>> {
    let of =
        |metadata: Metadata| Identity { place: super::local::place(&metadata), stat: super::local::stat_of(&metadata) };
    match path.metadata() {
        Ok(metadata) => Ok(Some(of(metadata))),
        Err(cause) if cause.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(cause).with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn whatever_happens_to_a_file_shows() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = || {
            let names = fs::read_dir(folder.path()).expect("is there");
            Ok(names.map(|entry| entry.expect("is readable").path()).collect())
        };
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        let told = |change: &dyn Fn()| {
            fs::write(&one, b"one").expect("written");
            fs::write(&other, b"two").expect("written");
            let watch = Watch::new(list).expect("is readable");
            watch.check().expect("nothing has changed");
            // Clocks of file systems may stand still for some milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change();
            watch.check().expect_err("something has changed").to_string()
        };
        let time = || fs::metadata(&one).and_then(|metadata| metadata.modified()).expect("has one");
        let edited = told(&|| {
            let before = time();
            fs::write(&one, b"ONE").expect("written");
            let file = fs::File::options().write(true).open(&one).expect("is there");
            file.set_modified(before).expect("can be set");
        });
        assert!(edited.contains("one has changed while it was read"), "{edited}");
        let replaced = told(&|| fs::rename(&other, &one).expect("renamed"));
        assert!(replaced.contains("other has gone"), "{replaced}");
        let come = told(&|| fs::write(folder.path().join("third"), b"3").expect("written"));
        assert!(come.contains("third has come"), "{come}");
    }
}
