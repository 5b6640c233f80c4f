//! Finds the noisy versions of the images of a folder, by name.
//!
//! Both names are paths below their folders, without the extension. Patterns say which parts of them a pair has in common, so that
//! the order in which files are listed decides nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use regex::Regex;

use super::files::Entry;
use super::labels::{Labelled, labelled};
use super::layout::validation_beside;
use super::listing::{Listing, list, list_in};
use super::settings::{FolderPairs, FolderSettings};
use super::{Folder, pair_table};
use crate::image::{PerSplit, Split};
use crate::progress::Progress;
use crate::setting::Section;
use crate::source::{Asker, Outside};
use crate::{error, store};

/// Noisy images by the parts of their names that clean ones have too.
type Versions = BTreeMap<Vec<String>, Vec<String>>;

/// Most files of a kind that a message names.
const MOST_NAMED: usize = 3;

impl FolderPairs {
    /// Resolves the settings of pairs; none if there is a problem.
    pub fn resolve(
        noisy: PathBuf,
        noisy_name: Option<String>,
        clean_name: Option<String>,
        section: &mut Section<'_>,
    ) -> Option<Self> {
        let mut pattern = |key: &str, name: Option<String>| {
            let name = name.unwrap_or_else(|| "{name}".to_owned());
            let parts = Pattern::new(&name).map(|pattern| pattern.parts);
            parts.map_err(|cause| section.add(key, cause)).ok().map(|parts| (name, parts))
        };
        let (noisy_name, clean_name) = (pattern("noisy-name", noisy_name), pattern("clean-name", clean_name));
        let ((noisy_name, found), (clean_name, expected)) = (noisy_name?, clean_name?);
        if found.keys().ne(expected.keys()) {
            let list = |parts: BTreeMap<String, usize>| parts.into_keys().map(|part| format!("{{{part}}}"));
            let [found, expected] = [found, expected].map(|parts| list(parts).collect::<Vec<_>>().join(", "));
            let message = format!("has {found}, but `clean-name` has {expected}: partners are found by what both have");
            section.add("noisy-name", message);
        }
        Some(Self { noisy, noisy_name, clean_name })
    }

    /// Whether this is the name of a clean image.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub fn is_clean(&self) -> Result<impl Fn(&str) -> bool> {
        let pattern = Pattern::new(&self.clean_name).map_err(error::settings)?;
        Ok(move |path: &str| pattern.key(path).is_some())
    }

    /// Those of some paths that are names of clean images.
    ///
    /// # Errors
    /// As [`Self::is_clean`].
    pub fn clean(&self, mut paths: Vec<String>) -> Result<Vec<String>> {
        let is_clean = self.is_clean()?;
        paths.retain(|path| is_clean(path));
        Ok(paths)
    }

    /// The noisy images as files that decide the result, with their setting.
    ///
    /// # Errors
    /// As [`Self::files`].
    pub fn outside(&self, settings: &FolderSettings) -> Result<(&'static str, Outside)> {
        Ok(("source.folder.noisy", Outside::Files(self.noisy.clone(), self.files(settings)?)))
    }

    /// The images in the folder of the noisy ones, of which some may have other names.
    fn list(&self, settings: &FolderSettings) -> Result<Listing> {
        [&settings.path, &self.noisy].into_iter().try_for_each(|root| store::list_ahead(root))?;
        // If there are folders of splits, files outside of them belong to none.
        let splits = [settings.train.as_str(), &settings.test];
        let split = [&settings.path, &self.noisy]
            .iter()
            .all(|root| splits.iter().all(|name| store::is_folder(&root.join(name))));
        if !split {
            return list(&self.noisy);
        }
        let validation =
            validation_beside(settings, "", splits)?.filter(|name| store::is_folder(&self.noisy.join(name)));
        list_in(&self.noisy, &splits.into_iter().chain(validation.as_deref()).collect::<Vec<_>>())
    }

    /// The noisy images; none if the table that lists them cannot be read, which ingest reports.
    ///
    /// # Errors
    /// A folder that cannot be read.
    fn files(&self, settings: &FolderSettings) -> Result<Vec<String>> {
        if let Some(csv) = &settings.csv {
            let listed = pair_table::read(csv, settings, self);
            let mut files = listed.map_or(Vec::new(), |table| table.versions.into_values().flatten().collect());
            files.sort();
            return Ok(files);
        }
        let pattern = Pattern::new(&self.noisy_name).map_err(error::settings)?;
        Ok(self.list(settings)?.images.into_iter().filter(|path| pattern.key(path).is_some()).collect())
    }

    /// The noisy images by what their names have in common with those of clean ones, in order.
    fn versions(&self, settings: &FolderSettings, clean: &Pattern, progress: &Progress) -> Result<Versions> {
        let noisy = Pattern::new(&self.noisy_name).map_err(error::settings)?;
        let listing = self.list(settings)?;
        listing.tell_links(progress);
        listing.tell_others(progress, Asker::Section("source.folder"));
        let (mut versions, mut others) = (Versions::new(), Vec::new());
        for path in listing.images {
            match noisy.key(&path) {
                Some(key) => versions.entry(key).or_default().push(path),
                None if clean.key(&path).is_none() => others.push(path),
                None => {}
            }
        }
        if let Some(example) = others.first() {
            let (count, folder, name) = (others.len(), self.noisy.display(), &self.noisy_name);
            let what = format!("{count} images in {folder} with names unlike {name}");
            progress.note(&format!("passed over: {what}, such as {example}"));
        }
        Ok(versions)
    }

    /// The pairs of these clean images with the noisy ones: a list of clean ones and of noisy ones, in the same order. A clean
    /// image of several noisy ones is repeated.
    ///
    /// # Errors
    /// A folder or table that cannot be read; images without partner; several clean ones for a noisy one.
    fn of(&self, clean: Labelled, settings: &FolderSettings, progress: &Progress) -> Result<[Labelled; 2]> {
        let pattern = Pattern::new(&self.clean_name).map_err(error::settings)?;
        let versions = match &settings.csv {
            Some(csv) => {
                let listed = pair_table::read(csv, settings, self)?.versions;
                listed.into_iter().map(|(path, versions)| (vec![path], versions)).collect()
            }
            None => self.versions(settings, &pattern, progress)?,
        };
        // A table has the paths of the clean images themselves.
        let key = |path: &str| if settings.csv.is_some() { Some(vec![path.to_owned()]) } else { pattern.key(path) };
        let Labelled { splits, classes } = clean;
        let (mut alone, mut seen) = (Vec::new(), BTreeMap::new());
        let mut paired = [PerSplit::<Vec<Entry>>::default(), PerSplit::default()];
        for (split, entries) in splits.iter().enumerate() {
            for entry in entries {
                let key = key(&entry.path).unwrap_or_default();
                if let Some(other) = seen.insert(key.clone(), &entry.path) {
                    let folder = settings.path.display();
                    let message = format!("{other} and {} in {folder} would both be the clean image of", entry.path);
                    return Err(error::data(format!("{message} {}; {}", key.join(", "), self.advice())));
                }
                let Some(versions) = versions.get(&key) else {
                    alone.push(settings.path.join(&entry.path));
                    continue;
                };
                for path in versions {
                    paired[0][split].push(entry.clone());
                    paired[1][split].push(Entry { path: path.clone(), ..entry.clone() });
                }
            }
        }
        let lone = versions.iter().filter(|(key, _)| !seen.contains_key(*key)).flat_map(|(_, paths)| paths);
        let lone: Vec<PathBuf> = lone.map(|path| self.noisy.join(path)).collect();
        alone.sort();
        if !alone.is_empty() || !lone.is_empty() {
            let kinds = [(&alone, "clean", "noisy"), (&lone, "noisy", "clean")];
            let kinds = kinds.into_iter().filter(|(paths, ..)| !paths.is_empty());
            let kinds = kinds.map(|(paths, found, missing)| {
                format!("\n  {} {found} images have no {missing} one: {}", paths.len(), named(paths))
            });
            let lines: String = kinds.collect();
            return Err(error::data(format!("images lack their partners; {}{lines}", self.advice())));
        }
        Ok(paired.map(|splits| Labelled { splits, classes: classes.clone() }))
    }

    /// Opens the images of both versions, the clean ones first.
    ///
    /// # Errors
    /// As [`Folder::of_settings`] and [`Self::of`]; files of other pages than their partners.
    pub(super) fn open(&self, settings: &FolderSettings, seed: u64, progress: &Progress) -> Result<[Folder; 2]> {
        let [clean, noisy] = self.of(labelled(settings, seed, progress)?, settings, progress)?;
        let clean = Folder::labelled(&settings.path, settings, clean)?;
        let noisy = Folder::labelled(&self.noisy, settings, noisy)?;
        // Of files of several pages, each page is an image.
        for split in Split::ALL {
            let (clean_entries, noisy_entries) = (clean.entries(split), noisy.entries(split));
            let differing = clean_entries.iter().zip(noisy_entries).find(|(clean, noisy)| clean.page != noisy.page);
            let longer = clean_entries.len() != noisy_entries.len();
            let last = clean_entries.last().zip(noisy_entries.last()).filter(|_| longer);
            if let Some((one, other)) = differing.or(last) {
                let (one, other) = (settings.path.join(&one.path), self.noisy.join(&other.path));
                let message =
                    format!("{}, or a file before it, has other pages than {}", other.display(), one.display());
                return Err(error::data(format!("{message}; a pair needs the same pages")));
            }
        }
        Ok([clean, noisy])
    }

    fn advice(&self) -> String {
        let Self { noisy_name, clean_name, .. } = self;
        format!(
            "a pair has names like {noisy_name} and {clean_name}, without extension (source.folder.noisy-name, .clean-name)"
        )
    }
}

/// The first of some paths.
fn named(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().take(MOST_NAMED).map(|path| path.display().to_string()).collect();
    let more = if paths.len() > MOST_NAMED { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

/// A pattern of names.
struct Pattern {
    regex: Regex,
    /// The group of each part, by its name.
    parts: BTreeMap<String, usize>,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// No part, one that is named twice or has no end; as text.
    fn new(text: &str) -> Result<Self, String> {
        let (mut expression, mut parts) = ("(?s)^".to_owned(), BTreeMap::new());
        let mut rest = text;
        while let Some(start) = rest.find(['{', '}', '*']) {
            let (literal, special) = rest.split_at(start);
            expression += &regex::escape(literal);
            if let Some(after) = special.strip_prefix('*') {
                expression += ".*?";
                rest = after;
                continue;
            }
            let part = special.strip_prefix('{').and_then(|special| special.split_once('}'));
            let Some((part, after)) = part.filter(|(part, _)| !part.is_empty() && !part.contains(['{', '*'])) else {
                return Err(format!("{text:?} has a bracket that is no part like {{page}}"));
            };
            if parts.insert(part.to_owned(), parts.len() + 1).is_some() {
                return Err(format!("{text:?} names the part {{{part}}} twice"));
            }
            expression += "(.+?)";
            rest = after;
        }
        if parts.is_empty() {
            return Err(format!("{text:?} has no part like {{page}} by which partners could be found"));
        }
        expression += &format!("{}$", regex::escape(rest));
        let regex = Regex::new(&expression).map_err(|cause| format!("{text:?} is no pattern of names: {cause}"))?;
        Ok(Self { regex, parts })
    }

    /// What a path has for the parts, in the order of their names; none if it does not match.
    fn key(&self, path: &str) -> Option<Vec<String>> {
        let name = match path.rsplit_once('.') {
            Some((name, extension)) if !extension.contains('/') => name,
            _ => path,
        };
        let found = self.regex.captures(name)?;
        self.parts.values().map(|&group| Some(found.get(group)?.as_str().to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pattern: &str, path: &str) -> Option<String> {
        Some(Pattern::new(pattern).expect("is one").key(path)?.join(" "))
    }

    #[test]
    fn a_pattern_finds_the_parts_of_a_name() {
        assert_eq!(key("{name}", "a/b.c.png"), Some("a/b.c".to_owned()));
        assert_eq!(key("{name}", "a.b/c"), Some("a.b/c".to_owned()));
        let office = "{page}_Noise*_{set}";
        assert_eq!(key(office, "x/FontABC_Noisec_TE.png"), Some("x/FontABC TE".to_owned()));
        assert_eq!(key(office, "FontABC_Clean_TE.png"), None);
        // In the order of the names of the parts, and literally where characters have a meaning in regular expressions.
        assert_eq!(key("{b}+(1).{a}", "x+(1).y.png"), Some("y x".to_owned()));
        assert_eq!(key("{b}+(1).{a}", "xx(1)cy.png"), None);
        assert_eq!(key("noisy/{page}-*", "noisy/7-.png"), Some("7".to_owned()));
    }

    #[test]
    fn patterns_without_usable_parts_are_refused() {
        for (text, reason) in [
            ("*_noisy", "no part like {page}"),
            ("{page", "is no part like {page}"),
            ("page}", "is no part like {page}"),
            ("{}", "is no part like {page}"),
            ("{a}{a}", "the part {a} twice"),
        ] {
            let cause = Pattern::new(text).err().expect("is refused");
            assert!(cause.contains(reason), "{text}: {cause}");
        }
    }
}
