//! Finds in the paths of a folder's images what its sub-folders are: splits, labels, or wrappers around everything.
//!
//! Sub-folders that [`split_name`](crate::source::split_name) takes for splits are never labels: either they are the splits, or
//! the folder is refused. Of the names `train` and `test` in the settings, those that exist come first.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::settings::FolderSettings;
use crate::image::Split;
use crate::source::split_name::{Name, Role, is_generic};
use crate::{error, store};

/// The setting for no validation images, unless a sub-folder is called so.
const NONE: &str = "none";

/// What the sub-folders are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The starts of the paths of each split, empty or ending with `/`: of train, of test and, if there is one, of validation, or
    /// those of each label; none if splits are drawn.
    pub splits: Vec<(Split, String)>,
    /// The start of all paths, if splits are drawn or in labels, which holds no label: empty or ending with `/`.
    pub around: String,
    /// Whether each label holds the splits, as `cats/train/`.
    pub in_labels: bool,
}

impl Layout {
    /// Whether the names are other than those in the settings, so that the user should know of them.
    pub fn is_found(&self, settings: &FolderSettings) -> bool {
        let FolderSettings { train, test, validation, .. } = settings;
        let named = [Some(train), Some(test), validation.as_ref()];
        let named = |(split, start): &(Split, String)| {
            named[*split as usize].is_some_and(|name| start.strip_suffix('/') == Some(name))
        };
        !self.around.is_empty() || !self.splits.iter().all(named)
    }

    /// Whether the folders say the splits.
    pub fn says_splits(&self) -> bool {
        !self.splits.is_empty()
    }

    /// Whether folders say that images are of this split.
    pub fn has(&self, split: Split) -> bool {
        self.splits.iter().any(|(of, _)| *of == split)
    }

    /// The split that a path is in, and the rest of the path, whose first folder is its label.
    pub fn place<'a>(&self, path: &'a str) -> (Option<Split>, &'a str) {
        let found = self.splits.iter().find(|(_, start)| path.starts_with(start.as_str()));
        let before = found.filter(|_| !self.in_labels).map_or(&self.around, |(_, start)| start);
        (found.map(|(split, _)| *split), path.strip_prefix(before.as_str()).unwrap_or(path))
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
    let there = [train, test].map(|name| store::is_folder(&root.join(name)));
    if there == [true; 2] {
        return with_validation(settings, &tree, "", [train, test]);
    }
    let usual = (train.as_str(), test.as_str()) == ("train", "test");
    if there != [false; 2] && !usual {
        let (there, missing) = if there[0] { (train, Role::Test) } else { (test, Role::Train) };
        return Err(one_sided(settings, "", there, missing));
    }
    // Other names in the settings say that the sub-folders are labels.
    if !usual {
        refuse_validation_alone(settings)?;
        return Ok(Layout::default());
    }
    let around = around(&tree);
    match splits(settings, &tree, &around)? {
        Some(named) => with_validation(settings, &tree, &around, named),
        None => {
            refuse_validation_alone(settings)?;
            if let Some(splits) = in_labels(settings, &tree, &around) {
                return Ok(Layout { splits, around, in_labels: true });
            }
            refuse_inner(settings, &tree, &around, images)?;
            Ok(Layout { around, ..Layout::default() })
        }
    }
}

/// The layout whose train and test are the sub-folders of these names in the folder `around`.
fn with_validation(settings: &FolderSettings, tree: &Tree<'_>, around: &str, named: [&str; 2]) -> Result<Layout> {
    let validation = validation_beside(settings, around, named)?;
    let [train, test] = named.map(|name| Some(format!("{around}{name}")));
    if validation == test {
        return Err(one_sided(settings, around, named[0], Role::Test));
    }
    let starts = Split::ALL.into_iter().zip([train, test, validation]);
    let splits = starts.filter_map(|(split, name)| Some((split, inside(tree, &format!("{}/", name?)))));
    Ok(Layout { splits: splits.collect(), ..Layout::default() })
}

/// Refuses a folder of validation images where there are none for training and testing.
fn refuse_validation_alone(settings: &FolderSettings) -> Result<()> {
    let Some(name) = settings.validation.as_ref().filter(|name| *name != NONE) else { return Ok(()) };
    let message = format!("source.folder.validation names {name}, but {} has no", settings.path.display());
    let advice =
        "name them with source.folder.train and .test, or have validation images drawn with .validation-fraction";
    Err(error::data(format!("{message} sub-folders for training and testing; {advice}")))
}

/// The sub-folder of validation images, from the root: the one in the settings, or else one in the folder `around`, beside those for
/// training and testing, whose name says so, if no other name does.
///
/// # Errors
/// One in the settings that is not there.
pub fn validation_beside(settings: &FolderSettings, around: &str, named: [&str; 2]) -> Result<Option<String>> {
    if let Some(name) = settings.validation.as_deref().map(|name| name.trim_end_matches('/')) {
        return match store::is_folder(&settings.path.join(name)) {
            true => Ok(Some(name.to_owned())),
            false if name == NONE => Ok(None),
            false => Err(without_validation(settings, name)),
        };
    }
    // What is in the folder, rather than what holds images: those may all be links to others.
    let folder = settings.path.join(around);
    let mut folders = store::of(&folder).list(&folder).unwrap_or_default();
    folders.retain(|name| store::is_folder(&folder.join(name)));
    let said = said(folders.iter().map(String::as_str));
    let mut found = said.iter().filter(|(folder, name)| name.role == Role::Validation && !named.contains(folder));
    Ok(match (found.next(), found.next()) {
        (Some((folder, _)), None) => Some(format!("{around}{folder}")),
        _ => None,
    })
}

/// The error for a sub-folder of validation images in the settings that has none.
pub fn without_validation(settings: &FolderSettings, name: &str) -> anyhow::Error {
    let folder = settings.path.display();
    error::data(format!("source.folder.validation names {name}, but {folder} has no such sub-folder with images"))
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

/// The folders of the splits of labels that all hold the same ones, and below them nothing but images; none where folders may be
/// anything else, such as labels in splits of several sets, or parts of one.
fn in_labels(settings: &FolderSettings, tree: &Tree<'_>, around: &str) -> Option<Vec<(Split, String)>> {
    let (labels, beside) = tree.get(around)?;
    let is_part = |label: &str| {
        let name = label.trim_matches(|letter: char| letter.is_ascii_digit() || matches!(letter, '_' | '-' | ' '));
        is_generic(name) || name.eq_ignore_ascii_case("fold")
    };
    if *beside > 0 || labels.len() < 2 || labels.iter().all(|label| is_part(label)) {
        return None;
    }
    let (mut found, mut all_roles) = (Vec::new(), BTreeSet::new());
    for label in labels {
        let (folders, beside) = tree.get(format!("{around}{label}/").as_str())?;
        let named = said(folders.iter().copied());
        let roles: BTreeMap<Role, &str> = named.iter().map(|(folder, name)| (name.role, *folder)).collect();
        let [train, test, validation] = [Role::Train, Role::Test, Role::Validation].map(|role| roles.get(&role));
        // One for validation is for testing if there is no other.
        let validation = validation.filter(|_| settings.validation.as_deref() != Some(NONE));
        let (test, validation) = if test.is_some() { (test, validation) } else { (validation, None) };
        let named = Split::ALL.into_iter().zip([Some(train?), Some(test?), validation]);
        let splits = named.filter_map(|(split, name)| Some((split, format!("{around}{label}/{}/", name?))));
        let splits: Vec<_> = splits.collect();
        let holds_folders = |(_, split): &(Split, String)| {
            tree.get(inside(tree, split).as_str()).is_none_or(|(inner, _)| !inner.is_empty())
        };
        if *beside > 0 || roles.len() != folders.len() || splits.iter().any(holds_folders) {
            return None;
        }
        all_roles.insert(roles.into_keys().collect::<Vec<_>>());
        found.extend(splits);
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
