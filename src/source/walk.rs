//! Lists the files below folders, following links, with each file listed once.
//!
//! A link may lead back to a folder above it, so that a walk that follows links may never end. Each folder is therefore
//! entered once, and folders and link targets are identified by their real paths. Of several paths to a file, the choice does not
//! depend on the order in which a disk lists names: paths without links come first, then links to folders, then links to
//! files, each in the order of their paths.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::progress::Progress;
use crate::store::local::real;
use crate::store::url::is_url;
use crate::{error, store};

/// Files that programs leave beside data, and that nobody counts as data.
const ASIDE: [&str; 5] = ["thumbs.db", "desktop.ini", "metadata.csv", "metadata.jsonl", "metadata.parquet"];

/// Most folders inside one another.
const MAX_DEPTH: usize = 64;

/// The result of a walk.
#[derive(Default)]
pub struct Walk {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Whether it takes hidden files and enters hidden folders.
    hidden: bool,
    /// Number of files and folders that were skipped because they had been reached before, and the first of them by its path.
    repeated: (u64, Option<PathBuf>),
    /// The folders that were entered, by their real paths, and the paths by which they were reached.
    entered: HashMap<PathBuf, PathBuf>,
    /// The real paths of files that are reached through links only.
    linked: HashSet<PathBuf>,
    /// Whether there are links.
    has_links: bool,
}

/// The links below one of the roots.
struct Links<'a> {
    root: &'a Path,
    folders: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
}

/// A filter of the files to list.
type Wanted<'a> = &'a dyn Fn(&Path) -> bool;

impl Walk {
    /// Lists the `wanted` files below some folders, including hidden ones if `hidden`. The target of links in several of the
    /// folders belongs to the first one, unless it lies in another.
    ///
    /// # Errors
    /// A folder that cannot be read, or is nested too deeply; interruption.
    pub fn new(roots: &[PathBuf], hidden: bool, wanted: Wanted) -> Result<Self> {
        let mut walk = Self { hidden, ..Self::default() };
        let links = |root| Links { root, folders: BTreeSet::new(), files: BTreeSet::new() };
        let mut all: Vec<_> = roots.iter().map(|root| links(root.as_path())).collect();
        for links in &mut all {
            if is_url(links.root) {
                walk.list(links.root, wanted)?;
            } else {
                walk.enter(links.root, links, wanted)?;
            }
        }
        for links in &mut all {
            while let Some(folder) = links.folders.pop_first() {
                walk.enter(&folder, links, wanted)?;
            }
        }
        all.into_iter().flat_map(|links| links.files).for_each(|link| walk.add_link(link, wanted));
        Ok(walk)
    }

    /// Enters a folder that a link may have led to.
    fn enter(&mut self, folder: &Path, links: &mut Links, wanted: Wanted) -> Result<()> {
        let place = real(folder).unwrap_or_else(|| folder.to_owned());
        self.enter_at(folder, place, links, wanted)
    }

    /// Takes the objects below a prefix of a store, which has no links.
    fn list(&mut self, folder: &Path, wanted: Wanted) -> Result<()> {
        let mut files = Vec::new();
        let mut take = |path: PathBuf, _| {
            let mut names = path.strip_prefix(folder).into_iter().flatten();
            if !names.any(|name| self.passes_over(name)) && wanted(&path) {
                files.push(path);
            }
        };
        let listed = store::of(folder).walk(folder, &mut take);
        listed.with_context(|| format!("cannot list {}", folder.display()))?;
        self.files.append(&mut files);
        crate::interrupt::check()
    }

    fn enter_at(&mut self, folder: &Path, place: PathBuf, links: &mut Links, wanted: Wanted) -> Result<()> {
        if self.entered.contains_key(&place) {
            self.repeat(folder.to_owned());
            return Ok(());
        }
        if folder.strip_prefix(links.root).is_ok_and(|inside| inside.components().count() > MAX_DEPTH) {
            return Err(error::data(format!("{} is more than {MAX_DEPTH} folders deep", folder.display())));
        }
        let unreadable = || format!("cannot read the folder {}", folder.display());
        for entry in std::fs::read_dir(folder).with_context(unreadable)? {
            let entry = entry.with_context(unreadable)?;
            let (path, name) = (entry.path(), entry.file_name());
            if self.passes_over(&name) {
                continue;
            }
            let kind = entry.file_type().with_context(unreadable)?;
            self.has_links |= kind.is_symlink();
            if kind.is_dir() {
                self.enter_at(&path, place.join(&name), links, wanted)?;
            } else if kind.is_symlink() && path.is_dir() {
                links.folders.insert(path);
            } else if !wanted(&path) {
            } else if kind.is_symlink() {
                // A broken link is listed as a file, to be reported; a link to a pipe is not.
                if path.metadata().map_or(true, |metadata| metadata.is_file()) {
                    links.files.insert(path);
                }
            } else if kind.is_file() {
                self.files.push(path);
            }
        }
        self.entered.insert(place, folder.to_owned());
        crate::interrupt::check()
    }

    /// Adds the target of a link, unless it was listed before.
    fn add_link(&mut self, link: PathBuf, wanted: Wanted) {
        let found = real(&link).is_some_and(|place| {
            let (around, name) = (place.parent().and_then(|around| self.entered.get(around)), place.file_name());
            let listed = |(around, name): (&PathBuf, _)| !self.passes_over(name) && wanted(&around.join(name));
            around.zip(name).is_some_and(listed) || !self.linked.insert(place)
        });
        if found { self.repeat(link) } else { self.files.push(link) }
    }

    fn passes_over(&self, name: &std::ffi::OsStr) -> bool {
        !self.hidden && name.as_encoded_bytes().starts_with(b".")
    }

    fn repeat(&mut self, path: PathBuf) {
        let (count, first) = &mut self.repeated;
        *count += 1;
        if first.as_ref().is_none_or(|first| path < *first) {
            *first = Some(path);
        }
    }

    /// Whether any of the paths is a link, or leads through one.
    pub fn has_links(&self) -> bool {
        self.has_links
    }

    /// Reports what was reached more than once, since the user may count it as more data.
    pub fn tell(&self, progress: &Progress) {
        tell_repeated(self.repeated.0, self.repeated.1.as_ref(), progress);
    }
}

/// Reports links to what is read anyway, if there is an example of them.
pub fn tell_repeated(count: u64, example: Option<&PathBuf>, progress: &Progress) {
    if let Some(example) = example {
        let example = example.display();
        progress.note(&format!("links to what is read anyway, which counts once: {count}, such as {example}"));
    }
}

/// Whether a file is one that nobody counts as data.
pub fn is_aside(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).map(str::to_ascii_lowercase);
    name.is_some_and(|name| ASIDE.contains(&name.as_str()) || name.starts_with("readme") || name.starts_with("license"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// The names that a walk lists in a folder, and the number of repetitions.
    fn found(folder: &Path, starts: &[&str]) -> (Vec<String>, u64) {
        let roots: Vec<_> = starts.iter().map(|start| folder.join(start)).collect();
        let png = |path: &Path| path.extension().is_some_and(|end| end == "png");
        let walk = Walk::new(&roots, false, &png).expect("is readable");
        let inside = |path: &PathBuf| path.strip_prefix(folder).expect("is inside").to_string_lossy().into_owned();
        let mut names: Vec<_> = walk.files.iter().map(inside).collect();
        names.sort();
        (names, walk.repeated.0)
    }

    #[test]
    fn what_links_lead_to_counts_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for name in ["a/1.png", "b/2.png", "c/.hidden/3.png", "b/.4.png"] {
            std::fs::create_dir_all(at(name).parent().expect("has one")).expect("created");
            std::fs::write(at(name), b"").expect("written");
        }
        assert_eq!(found(folder.path(), &[""]), (vec!["a/1.png".into(), "b/2.png".into()], 0));
        // Links back to the root, twice, and to listed files and folders; their names sort before and after the real ones.
        for (target, link) in
            [(".", "one"), ("..", "a/two"), ("../b", "a/0"), ("../a/1.png", "b/0.png"), ("2.png", "b/9.png")]
        {
            symlink(target, at(link)).expect("linked");
        }
        assert_eq!(found(folder.path(), &[""]), (vec!["a/1.png".into(), "b/2.png".into()], 5));
        // A hard link is a separate file; a target without another path is listed under the first of its links.
        std::fs::hard_link(at("a/1.png"), at("a/hard.png")).expect("linked");
        for link in ["a/y.png", "a/x.png"] {
            symlink("../b/.4.png", at(link)).expect("linked");
        }
        symlink("nowhere", at("a/z.png")).expect("linked");
        let names = ["a/1.png", "a/hard.png", "a/x.png", "a/z.png", "b/2.png"].map(str::to_owned).to_vec();
        assert_eq!(found(folder.path(), &[""]), (names, 6));
        // Files below another root belong to it; other targets of links belong to the first root.
        std::fs::write(at("c/5.png"), b"").expect("written");
        ["a/c", "b/c"].into_iter().for_each(|link| symlink("../c", at(link)).expect("linked"));
        std::fs::remove_file(at("a/two")).expect("removed");
        let names = ["a/1.png", "a/hard.png", "a/x.png", "a/z.png", "b/2.png", "b/c/5.png"];
        assert_eq!(found(folder.path(), &["b", "a"]).0, names);
    }
}
