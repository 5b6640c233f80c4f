//! Finds in the paths of a folder's images what its sub-folders are: splits, labels, or wrappers around everything.
//!
//! Sub-folders that [`split_name`](crate::source::split_name) takes for splits are never labels: either they are the splits, or
//! the folder is refused. Of the names `train` and `test` in the settings, those that exist come first.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::settings::FolderSettings;
use crate::error;
use crate::image::Split;
use crate::source::split_name::{Name, Role, is_generic};

/// What the sub-folders are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The starts of the paths of train and test, each empty or ending with `/`; none if splits are drawn.
    pub splits: Option<[String; 2]>,
    /// The start of all paths, if splits are drawn or in labels, which holds no label: empty or ending with `/`.
    pub around: String,
    /// The starts of the paths of train and test where each label holds both, as `cats/train/`; empty if that is not so.
    pub in_labels: [Vec<String>; 2],
}

impl Layout {
    /// Whether the names are other than those in the settings, so that the user should know of them.
    pub fn is_found(&self, settings: &FolderSettings) -> bool {
        let named = [&settings.train, &settings.test].map(|name| format!("{name}/"));
        !self.around.is_empty()
            || !self.in_labels[0].is_empty()
            || self.splits.as_ref().is_some_and(|splits| *splits != named)
    }

    /// The starts of the paths of train and test; empty if splits are drawn.
    pub fn starts(&self) -> [&[String]; 2] {
        match &self.splits {
            Some(splits) => splits.each_ref().map(std::slice::from_ref),
            None => self.in_labels.each_ref().map(Vec::as_slice),
        }
    }

    /// Whether the folders say the splits.
    pub fn says_splits(&self) -> bool {
        self.starts().iter().any(|starts| !starts.is_empty())
    }

    /// The split that a path is in, and the rest of the path, whose first folder is its label.
    pub fn place<'a>(&self, path: &'a str) -> (Option<Split>, &'a str) {
        let start = |split: Split| self.starts()[split as usize].iter().find(|start| path.starts_with(start.as_str()));
        let found = Split::ALL.into_iter().find_map(|split| Some((split, start(split)?)));
        let before = found.filter(|_| self.splits.is_some()).map_or(&self.around, |(_, start)| start);
        (found.map(|(split, _)| split), path.strip_prefix(before.as_str()).unwrap_or(path))
    }
}

/// The sub-folders with images, and the number of images that lie beside them, by folder.
type Tree<'a> = BTreeMap<&'a str, (BTreeSet<&'a str>, usize)>;

/// The layout of a folder by the paths of its images, and by whether the sub-folders in the settings exist.
///
/// # Errors
/// Sub-folders that are splits, but not clearly one for training and one for testing.
pub fn layout(settings: &FolderSettings, images: &[String]) -> Result<Layout> {
    let FolderSettings { path: root, train, test, .. } = settings;
    let tree = tree(images);
    let there = [train, test].map(|name| root.join(name).is_dir());
    if there == [true; 2] {
        return Ok(Layout {
            splits: Some([train, test].map(|name| inside(&tree, &format!("{name}/")))),
            ..Layout::default()
        });
    }
    let usual = (train.as_str(), test.as_str()) == ("train", "test");
    if there != [false; 2] && !usual {
        let (there, missing) = if there[0] { (train, Role::Test) } else { (test, Role::Train) };
        return Err(one_sided(settings, "", there, missing));
    }
    // Other names in the settings say that the sub-folders are labels.
    if !usual {
        return Ok(Layout::default());
    }
    let around = around(&tree);
    let splits = splits(settings, &tree, &around)?;
    if splits.is_none() {
        if let Some(in_labels) = in_labels(&tree, &around) {
            return Ok(Layout { splits: None, around, in_labels });
        }
        refuse_inner(settings, &tree, &around, images)?;
    }
    Ok(match splits {
        Some(splits) => {
            Layout { splits: Some(splits.map(|name| inside(&tree, &format!("{around}{name}/")))), ..Layout::default() }
        }
        None => Layout { around, ..Layout::default() },
    })
}

/// All folders that hold images, each ending with `/`, and the root as an empty text.
fn tree(images: &[String]) -> Tree<'_> {
    let mut tree = Tree::new();
    for path in images {
        let mut start = 0;
        for (slash, _) in path.match_indices('/') {
            tree.entry(&path[..start]).or_default().0.insert(&path[start..slash]);
            start = slash + 1;
        }
        tree.entry(&path[..start]).or_default().1 += 1;
    }
    tree
}

/// The only sub-folder of a folder without images of its own.
fn only<'a>(tree: &Tree<'a>, folder: &str) -> Option<&'a str> {
    let (folders, beside) = tree.get(folder)?;
    (*beside == 0 && folders.len() == 1).then(|| folders.first().copied())?
}

/// The folder around everything, such as the one that an archive was unpacked into.
fn around(tree: &Tree<'_>) -> String {
    let mut around = String::new();
    while let Some(name) = only(tree, &around) {
        let deeper = format!("{around}{name}/");
        // The only folder with images is a label that tells nothing apart; if it holds further folders, these are what is meant.
        let holds_folders =
            tree.get(deeper.as_str()).is_some_and(|(folders, beside)| *beside == 0 && !folders.is_empty());
        if Name::read(name).is_some_and(|name| name.is_plain()) || !(holds_folders || is_generic(name)) {
            break;
        }
        around = deeper;
    }
    around
}

/// The folder of the labels of a split: that of the split, or one in it which only repeats that it is one.
fn inside(tree: &Tree<'_>, split: &str) -> String {
    let mut split = split.to_owned();
    while let Some(name) = only(tree, &split) {
        let outer = split.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        if !(name.eq_ignore_ascii_case(outer)
            || Name::read(name).is_some_and(|name| name.is_plain())
            || is_generic(name))
        {
            break;
        }
        split += &format!("{name}/");
    }
    split
}

/// The names of the sub-folders of train and test in the folder `around`; none if no name says a split.
fn splits<'a>(settings: &FolderSettings, tree: &Tree<'a>, around: &str) -> Result<Option<[&'a str; 2]>> {
    let Some((folders, _)) = tree.get(around) else { return Ok(None) };
    let named = said(folders.iter().copied());
    let of =
        |role: Role| named.iter().filter(|(_, name)| name.role == role).map(|(folder, _)| *folder).collect::<Vec<_>>();
    match (&of(Role::Train)[..], &of(Role::Test)[..], &of(Role::Validation)[..]) {
        ([], [], []) => Ok(None),
        ([train], [test], _) | ([train], [], [test]) => Ok(Some([*train, *test])),
        ([there], [], []) => Err(one_sided(settings, around, there, Role::Test)),
        ([], [there], []) | ([], [], [there]) => Err(one_sided(settings, around, there, Role::Train)),
        _ => {
            let names: Vec<_> = named.iter().map(|(folder, _)| *folder).collect();
            let message = format!("{} has the sub-folders {}", settings.path.join(around).display(), names.join(", "));
            let advice = "say which of them to train on and to test on with source.folder.train and source.folder.test";
            Err(error::data(format!("{message}, which look like splits; {advice}")))
        }
    }
}

/// The folders of train and test of labels that all hold both, and below them nothing but images; none where folders may be anything
/// else, such as labels in splits of several sets, or parts of one.
fn in_labels(tree: &Tree<'_>, around: &str) -> Option<[Vec<String>; 2]> {
    let (labels, beside) = tree.get(around)?;
    let is_part = |label: &str| {
        let name = label.trim_matches(|letter: char| letter.is_ascii_digit() || matches!(letter, '_' | '-' | ' '));
        is_generic(name) || name.eq_ignore_ascii_case("fold")
    };
    if *beside > 0 || labels.len() < 2 || labels.iter().all(|label| is_part(label)) {
        return None;
    }
    let (mut found, mut all_roles) = ([Vec::new(), Vec::new()], BTreeSet::new());
    for label in labels {
        let (folders, beside) = tree.get(format!("{around}{label}/").as_str())?;
        let named = said(folders.iter().copied());
        let roles: BTreeMap<Role, &str> = named.iter().map(|(folder, name)| (name.role, *folder)).collect();
        let test = roles.get(&Role::Test).or(roles.get(&Role::Validation))?;
        let splits = [*roles.get(&Role::Train)?, test].map(|split| format!("{around}{label}/{split}/"));
        let holds_folders =
            |split: &String| tree.get(inside(tree, split).as_str()).is_none_or(|(inner, _)| !inner.is_empty());
        if *beside > 0 || roles.len() != folders.len() || splits.iter().any(holds_folders) {
            return None;
        }
        all_roles.insert(roles.into_keys().collect::<Vec<_>>());
        found.iter_mut().zip(splits).for_each(|(starts, split)| starts.push(split));
    }
    (all_roles.len() == 1).then_some(found)
}

/// Those of some names that say a split: plainly, or beside a counterpart.
fn said<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(&'a str, Name)> {
    let all: Vec<_> = names.filter_map(|name| Some((name, Name::read(name)?))).collect();
    let is_split = |name: &Name| name.is_plain() || all.iter().any(|(_, other)| name.is_twin(other));
    all.iter().filter(|(_, name)| is_split(name)).cloned().collect()
}

fn one_sided(settings: &FolderSettings, around: &str, there: &str, missing: Role) -> anyhow::Error {
    let folder = settings.path.join(around);
    let (missing, key) = match missing {
        Role::Train => (&settings.train, "train"),
        _ => (&settings.test, "test"),
    };
    let (inside, folder) = (folder.join(there).display().to_string(), folder.display());
    let message = format!("{folder} has a sub-folder {there} but none called {missing}");
    error::data(format!(
        "{message}; name it with source.folder.{key}, or source.folder.path = {inside:?} to have the splits drawn; if {there} is a \
         label, set source.folder.train and .test to names that no sub-folder has"
    ))
}

/// Refuses splits inside of labels, and in the names of files: images for testing would be drawn for training.
fn refuse_inner(settings: &FolderSettings, tree: &Tree<'_>, around: &str, images: &[String]) -> Result<()> {
    let roles = |names: &[(&str, Name)]| names.iter().map(|(_, name)| name.role).collect::<BTreeSet<_>>();
    let root = settings.path.display();
    for (folder, (folders, _)) in tree.iter().filter(|(folder, _)| **folder != around) {
        let named = said(folders.iter().copied());
        if roles(&named).len() > 1 {
            let names: Vec<_> = named.iter().map(|(name, _)| *name).collect();
            let inside = settings.path.join(folder.trim_end_matches('/')).display().to_string();
            let message = format!("{inside} has sub-folders that look like splits, {}", names.join(" and "));
            let advice = format!(
                "read it alone with source.folder.path = {inside:?}, or list the files of {root} with their labels and splits in a \
                 table, source.folder.csv"
            );
            return Err(error::data(format!("{message}; {advice}")));
        }
    }
    let stem = |path: &String| Name::read(path.rsplit('/').next()?.rsplit_once('.')?.0).filter(Name::is_plain);
    let names: Option<Vec<_>> = images.iter().map(stem).collect();
    let roles: BTreeSet<_> = names.into_iter().flatten().map(|name| name.role).collect();
    if roles.len() > 1 {
        let (first, last) = (&images[0], &images[images.len() - 1]);
        let message = format!("the names of the images in {root} say splits, as {first} and {last} do");
        let advice =
            "move each split to a sub-folder, or list the files with their splits in a table, source.folder.csv";
        return Err(error::data(format!("{message}; {advice}")));
    }
    Ok(())
}
