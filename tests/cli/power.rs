//! Power cuts at every step that changes something on disk, by a model of the writes that are lost.
//!
//! A run is killed before a step, which leaves what the steps before it have made. After a power cut, less may be there: names that were
//! created, renamed or removed are only sure once their folder is synced, and the content of a file once the file is. The model knows from
//! the steps what is not sure, and makes the disks that a cut may leave: every change of a name that is not sure is there or not, by itself,
//! but with those that it depends on; a file that was not synced is empty, cut, or holds zeros. What is sure about real file systems is more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::harness::{files, link};
use crate::random::Random;
use crate::steps::{Bench, Place, at_every_step};

/// A file, wherever it is.
type Id = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(Id),
}

/// Files and folders by their paths.
#[derive(Debug, Clone, Default)]
struct Tree(BTreeMap<PathBuf, Node>);

impl Tree {
    /// What is below a folder on the disk; files get the next ids.
    fn read(root: &Path, path: &Path, next: &mut Id) -> Self {
        let mut tree = Self::default();
        let mut entries: Vec<_> = std::fs::read_dir(root.join(path)).into_iter().flatten().flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = path.join(entry.file_name());
            if entry.path().is_dir() {
                tree.0.insert(path.clone(), Node::Folder);
                tree.0.extend(Self::read(root, &path, next).0);
            } else {
                tree.0.insert(path, Node::File(*next));
                *next += 1;
            }
        }
        tree
    }

    fn has_folder(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || self.0.get(path) == Some(&Node::Folder)
    }

    /// Removes a path with all below it, and returns these by their paths relative to it.
    fn take(&mut self, path: &Path) -> Self {
        let mut taken = Self::default();
        self.0.retain(|found, node| {
            let inside = found.strip_prefix(path).ok();
            taken.0.extend(inside.map(|inside| (inside.to_owned(), *node)));
            inside.is_none()
        });
        taken
    }

    fn put(&mut self, path: &Path, taken: Self) {
        let place = |inside: PathBuf| if inside.as_os_str().is_empty() { path.to_owned() } else { path.join(inside) };
        self.0.extend(taken.0.into_iter().map(|(inside, node)| (place(inside), node)));
    }
}

/// A change of names.
#[derive(Debug, Clone)]
enum Change {
    Add(PathBuf, Node),
    Rename(PathBuf, PathBuf),
    Exchange(PathBuf, PathBuf),
    Remove(PathBuf),
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

impl Change {
    fn paths(&self) -> Vec<&Path> {
        match self {
            Self::Add(path, _) | Self::Remove(path) => vec![path],
            Self::Rename(from, to) | Self::Exchange(from, to) => vec![from, to],
        }
    }

    /// Changes the tree, unless it lacks what is changed, or the place is taken.
    fn apply(&self, tree: &mut Tree) {
        match self {
            Self::Add(path, node) => {
                if tree.has_folder(parent(path)) && !tree.0.contains_key(path) {
                    tree.0.insert(path.clone(), *node);
                }
            }
            Self::Rename(from, to) => {
                let is_taken = tree.0.keys().any(|path| path.starts_with(to) && path != to);
                if tree.0.contains_key(from) && tree.has_folder(parent(to)) && !is_taken {
                    tree.take(to);
                    let moved = tree.take(from);
                    tree.put(to, moved);
                }
            }
            Self::Exchange(one, other) => {
                if tree.0.contains_key(one) && tree.0.contains_key(other) {
                    let moved = [tree.take(one), tree.take(other)];
                    let [from_one, from_other] = moved;
                    tree.put(other, from_one);
                    tree.put(one, from_other);
                }
            }
            Self::Remove(path) => _ = tree.take(path),
        }
    }
}

/// What a disk holds, and what of it is sure.
struct Disk {
    before: Tree,
    /// The changes since then, and whether each is sure.
    changes: Vec<(Change, bool)>,
    /// Files whose content is not sure.
    unsynced: BTreeSet<Id>,
    /// All changes made.
    now: Tree,
}

impl Disk {
    /// A disk on which these steps were taken. `all` are the steps of the whole run: a file that takes its name when it is finished is
    /// told by this name, and only the rename tells the hidden one.
    fn new(before: Tree, mut next: Id, steps: &[String], all: &[String]) -> Self {
        let mut disk = Self { now: before.clone(), before, changes: Vec::new(), unsynced: BTreeSet::new() };
        let created: BTreeSet<&str> = all.iter().filter_map(|step| step.strip_prefix("create ")).collect();
        let renamed = all.iter().filter_map(|step| step.strip_prefix("rename ")?.split_once(" → "));
        let hidden: BTreeSet<&str> = renamed
            .filter(|(from, _)| from.ends_with(".new"))
            .filter(|(from, to)| !created.contains(from) && created.contains(to))
            .map(|(_, to)| to)
            .collect();
        let place = |path: &str| if hidden.contains(path) { hidden_path(Path::new(path)) } else { PathBuf::from(path) };
        for step in steps {
            let two =
                ["create folder", "remove folder", "sync folder"].into_iter().find(|words| step.starts_with(words));
            let (operation, paths) = step.split_at(two.map_or_else(|| step.find(' ').expect("has a path"), str::len));
            let paths: Vec<&str> = paths.trim().split(" → ").collect();
            let path = PathBuf::from(paths[0]);
            match operation {
                "create" | "open" => {
                    let path = place(paths[0]);
                    let found = disk.now.0.get(&path).copied();
                    let id = if let Some(Node::File(id)) = found { id } else { next };
                    if found.is_none() {
                        next += 1;
                        disk.change(Change::Add(path, Node::File(id)));
                    }
                    if operation == "create" {
                        disk.unsynced.insert(id);
                    }
                }
                "write" | "sync" => {
                    let Some(Node::File(id)) = disk.now.0.get(&place(paths[0])) else { panic!("{step}: no such file") };
                    if operation == "write" {
                        disk.unsynced.insert(*id)
                    } else {
                        disk.unsynced.remove(id)
                    };
                }
                "create folder" => disk.change(Change::Add(path, Node::Folder)),
                "remove" | "remove folder" => disk.change(Change::Remove(path)),
                "exchange" => disk.change(Change::Exchange(path, PathBuf::from(paths[1]))),
                "rename" => {
                    let from = if hidden.contains(paths[1]) { place(paths[1]) } else { path };
                    disk.change(Change::Rename(from, PathBuf::from(paths[1])));
                }
                "sync folder" => disk.sync_folder(if paths[0] == "." { Path::new("") } else { Path::new(paths[0]) }),
                _ => panic!("unknown step {step}"),
            }
        }
        disk
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.changes.push((change, false));
    }

    /// The names in a folder are sure, and with them what they depend on.
    fn sync_folder(&mut self, folder: &Path) {
        for index in (0..self.changes.len()).rev() {
            let sure: Vec<_> =
                self.changes[index..].iter().filter(|(_, sure)| *sure).map(|(change, _)| change).collect();
            let paths = self.changes[index].0.paths();
            let is_in = paths.iter().any(|path| parent(path) == folder);
            let is_needed = sure
                .iter()
                .flat_map(|change| change.paths())
                .any(|path| paths.iter().any(|needed| path.starts_with(needed)));
            self.changes[index].1 |= is_in || is_needed;
        }
    }

    /// The names that are there after a cut, if `is_kept` says which of the changes that are not sure are.
    fn after(&self, mut is_kept: impl FnMut() -> bool) -> Tree {
        let mut tree = self.before.clone();
        for (change, sure) in &self.changes {
            if *sure || is_kept() {
                change.apply(&mut tree);
            }
        }
        tree
    }
}

/// The name of a file while it is written, without what tells processes apart.
fn hidden_path(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}.new", path.file_name().expect("has a name").to_string_lossy()))
}

/// What the cut leaves of the file.
fn cut(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    match random.below(3) {
        0 => Vec::new(),
        1 => bytes[..bytes.len() / 2].to_vec(),
        _ => vec![0; bytes.len()],
    }
}

/// Puts the disk that a cut leaves in the place of `runs`, which is as the steps have left it; `before` is as it was before them.
fn lose(bench: &Bench, disk: &Disk, tree: &Tree, random: &mut Random) {
    let root = bench.sandbox.path("");
    let after = bench.sandbox.path("after");
    _ = std::fs::remove_dir_all(&after);
    std::fs::create_dir(&after).expect("created");
    if root.join("runs").exists() {
        std::fs::rename(root.join("runs"), after.join("runs")).expect("renamed");
    }
    // Where the content of each file is: under its last name, or, of those that were removed, under its first one.
    let mut places: BTreeMap<Id, PathBuf> = BTreeMap::new();
    for (folder, names) in [("before", &disk.before), ("after", &disk.now)] {
        for (path, node) in &names.0 {
            if let Node::File(id) = node {
                places.insert(*id, actual(&root.join(folder).join(path)));
            }
        }
    }
    for (path, node) in &tree.0 {
        let to = root.join(path);
        match node {
            Node::Folder => std::fs::create_dir_all(&to).expect("created"),
            Node::File(id) => match places.get(id).filter(|place| place.exists()) {
                Some(place) if !disk.unsynced.contains(id) => std::fs::hard_link(place, &to).expect("linked"),
                Some(place) => std::fs::write(&to, cut(&std::fs::read(place).expect("read"), random)).expect("written"),
                // Made and removed by these steps: it may hold anything.
                None => std::fs::write(&to, b"anything").expect("written"),
            },
        }
    }
}

/// The path of a file that may be hidden under a name that tells processes apart.
fn actual(path: &Path) -> PathBuf {
    let name = path.file_name().expect("has a name").to_string_lossy().into_owned();
    let Some(stem) = name.strip_suffix(".new").filter(|stem| stem.starts_with('.') && !path.exists()) else {
        return path.to_owned();
    };
    let names = std::fs::read_dir(parent(path)).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names = names.map(|name| name.to_string_lossy().into_owned());
    let found = names.find(|name| name.starts_with(&format!("{stem}.")) && name.ends_with(".new"));
    found.map_or(path.to_owned(), |name| path.with_file_name(name))
}

/// The paths of a tree on the disk, with hidden names as the model has them.
fn paths_on_disk(bench: &Bench, disk: &Disk) -> BTreeSet<PathBuf> {
    let found = Tree::read(&bench.sandbox.path(""), Path::new("runs"), &mut 0);
    let known = disk.now.0.keys().map(|path| (actual(&bench.sandbox.path("").join(path)), path));
    let known: BTreeMap<_, _> = known.collect();
    found
        .0
        .into_keys()
        .map(|path| known.get(&bench.sandbox.path("").join(&path)).map_or(path, |path| (*path).clone()))
        .collect()
}

/// Runs the steps before one, and returns the disk after them.
fn killed(bench: &Bench, steps: &[String], index: usize) -> Disk {
    bench.reset();
    let root = bench.sandbox.path("");
    _ = std::fs::remove_dir_all(root.join("before"));
    if root.join("runs").exists() {
        link(&root.join("runs"), &root.join("before/runs"));
    }
    let mut next = 0;
    let mut before = Tree::read(&root, Path::new("runs"), &mut next);
    if root.join("runs").exists() {
        before.0.insert("runs".into(), Node::Folder);
    }
    if index < steps.len() {
        bench.run(&format!(":{}:kill", index + 1)).ends();
    } else {
        bench.run("trace").succeeds();
    }
    // A step that fails changes nothing.
    let fails = |step: &String| bench.place == Place::TakenWithoutExchange && step.starts_with("exchange");
    let taken: Vec<_> = steps[..index].iter().filter(|step| !fails(step)).cloned().collect();
    Disk::new(before, next, &taken, steps)
}

#[test]
fn a_power_cut_at_any_step_loses_nothing() {
    let mut random = Random(7);
    let (mut cuts, mut lost) = (0, 0);
    at_every_step(47, |bench, steps, index| {
        let disk = killed(bench, steps, index);
        let what =
            format!("a power cut before `{}` of {} in a place that was {:?}", steps[index], bench.name(), bench.place);
        let mut model: BTreeSet<PathBuf> = disk.now.0.keys().cloned().collect();
        model.remove(Path::new("runs"));
        assert_eq!(paths_on_disk(bench, &disk), model, "something changes the disk that is no step: {what}");
        let tree = match cuts % 3 {
            0 => disk.after(|| false),
            1 => disk.after(|| true),
            _ => disk.after(|| random.below(2) == 0),
        };
        lost += disk.changes.iter().filter(|(_, sure)| !sure).count() + disk.unsynced.len();
        lose(bench, &disk, &tree, &mut random);
        bench.expect_whole(&what);
        bench.expect_repaired(false, &what);
        cuts += 1;
    });
    println!("power cuts: {cuts}, changes that were not sure: {lost}, results that were not whole: 0");
    assert!(cuts > 25 && lost > cuts);
}

/// The model finds a sync that is missing.
#[test]
fn without_syncs_a_power_cut_would_lose_results() {
    let bench = Bench::new();
    let (steps, whole) = (bench.steps(), bench.sandbox.files("new/small/ingest"));
    let left = |missing: &[&str], names_are_kept: bool| {
        let before = killed(&bench, &steps, steps.len()).before;
        let kept = steps.iter().filter(|step| !missing.iter().any(|missing| step.starts_with(missing)));
        let disk = Disk::new(before, 0, &kept.cloned().collect::<Vec<_>>(), &steps);
        lose(&bench, &disk, &disk.after(|| names_are_kept), &mut Random(1));
        files(&bench.sandbox.path("runs/small/ingest")).ok()
    };
    assert!(left(&[], false).as_ref() == Some(&whole));
    assert!(left(&["sync folder"], false).is_none());
    assert!(left(&["sync runs"], true).is_some_and(|found| found != whole));
}
