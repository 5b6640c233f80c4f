//! Lists objects, in pages of a thousand as stores answer them.
//!
//! A store has no folders: a prefix counts as one if there is a key below it. Keys that other programs put there to mark a folder, of
//! no bytes and with a slash at their end, are left out.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::{self, StreamExt};
use object_store::path::Path as Key;
use object_store::{Error, ObjectMeta, ObjectStoreExt};

use super::client::{self, Object, object};
use super::fault::fault;
use super::version::stat_of;
use crate::store::url::Scheme;
use crate::store::{PathKind, Stat};

/// Files of one folder above which a listing of the folder costs less than asking for each.
const MOST_ASKED: usize = 32;
/// Objects of a page.
const PAGE: usize = 1000;
/// How many requests are under way at a time.
const AT_ONCE: usize = 32;

/// The objects below a prefix, by their keys from there on.
type Listing = BTreeMap<String, Stat>;

/// The listings that [`walk`] has made in this process, with their prefixes. A folder of a million pictures is listed by a thousand
/// requests, and asked for many times: a listing serves until [`forget`]. Nothing else is remembered, since run directories change.
fn listings() -> MutexGuard<'static, Vec<(PathBuf, Arc<Listing>)>> {
    static LISTINGS: Mutex<Vec<(PathBuf, Arc<Listing>)>> = Mutex::new(Vec::new());
    LISTINGS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has prefixes listed anew: all, or those that a written object lies in.
pub fn forget(written: Option<&Path>) {
    listings().retain(|(folder, _)| written.is_some_and(|path| !path.starts_with(folder)));
}

/// The listing that a path is in, and the path from its prefix on.
fn known(path: &Path) -> Option<(Arc<Listing>, String)> {
    listings().iter().find_map(|(folder, listing)| {
        let inside = path.strip_prefix(folder).ok()?.to_string_lossy().into_owned();
        Some((Arc::clone(listing), inside))
    })
}

/// What a listing has below a folder in it, by the keys from that folder on.
fn below<'a>(listing: &'a Listing, inside: &str) -> impl Iterator<Item = (&'a str, &'a Stat)> + use<'a> {
    let start = if inside.is_empty() { String::new() } else { format!("{inside}/") };
    listing.range(start.clone()..).map_while(move |(key, stat)| Some((key.strip_prefix(start.as_str())?, stat)))
}

/// What a URL names; none if there is nothing.
pub fn kind(path: &Path) -> io::Result<Option<PathKind>> {
    if let Some((listing, inside)) = known(path) {
        if inside.is_empty() {
            return Ok((!listing.is_empty()).then_some(PathKind::Folder));
        }
        let is_file = listing.contains_key(&inside).then_some(PathKind::File);
        return Ok(is_file.or(below(&listing, &inside).next().map(|_| PathKind::Folder)));
    }
    let object = object(path)?;
    if !object.key.as_ref().is_empty() || object.location.scheme == Scheme::Http {
        match client::attempt(object.store.head(&object.key))? {
            Ok(_) => return Ok(Some(PathKind::File)),
            Err(Error::NotFound { .. }) => {}
            Err(cause) => return Err(fault(cause)),
        }
    }
    if object.location.scheme == Scheme::Http {
        return Ok(None);
    }
    let first = client::attempt(object.store.list(Some(&object.key)).next())?;
    Ok(first.transpose().map_err(fault)?.map(|_| PathKind::Folder))
}

/// The stat of an object that was listed.
pub fn stat(path: &Path) -> Option<Stat> {
    known(path).and_then(|(listing, inside)| listing.get(&inside).copied())
}

/// The names in a prefix, sorted.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    if let Some((listing, inside)) = known(folder) {
        let first = |key: &str| key.split('/').next().unwrap_or(key).to_owned();
        let mut names: Vec<_> = below(&listing, &inside).map(|(key, _)| first(key)).collect();
        names.dedup();
        return if names.is_empty() { Err(nothing()) } else { Ok(names) };
    }
    let Object { store, key, .. } = listed(folder)?;
    let found = client::wait(store.list_with_delimiter(Some(&key)))?;
    let objects = found.objects.iter().map(|object| &object.location).chain(&found.common_prefixes);
    let mut names: Vec<_> = objects.filter(|found| **found != key).filter_map(|found| found.filename()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Err(nothing());
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

fn nothing() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "there is nothing below it")
}

/// Hands every object below a prefix to `each`, in the order of the keys.
pub fn walk(folder: &Path, each: &mut dyn FnMut(PathBuf, Stat)) -> io::Result<()> {
    let listing = listing(folder)?;
    listing.iter().for_each(|(inside, stat)| each(folder.join(inside), *stat));
    Ok(())
}

fn listing(folder: &Path) -> io::Result<Arc<Listing>> {
    if let Some((listing, inside)) = known(folder) {
        if inside.is_empty() {
            return Ok(listing);
        }
        return Ok(Arc::new(below(&listing, &inside).map(|(key, stat)| (key.to_owned(), *stat)).collect()));
    }
    let Object { store, key, .. } = listed(folder)?;
    let mut listing = Lister::new(&key);
    // Waits once for a page and not for each of its keys.
    let mut pages = store.list(Some(&key)).ready_chunks(PAGE);
    while let Some(page) = client::attempt(pages.next())? {
        page.into_iter().try_for_each(|meta| meta.map(|meta| listing.add(&meta))).map_err(fault)?;
    }
    let listing = listing.end();
    let listing = Arc::new(listing);
    listings().push((folder.to_owned(), Arc::clone(&listing)));
    Ok(listing)
}

/// Makes a listing of the answers of a store, which are in order.
struct Lister<'a> {
    prefix: &'a Key,
    listing: Listing,
    last: Option<(String, Stat)>,
}

impl<'a> Lister<'a> {
    fn new(prefix: &'a Key) -> Self {
        Self { prefix, listing: Listing::new(), last: None }
    }

    fn add(&mut self, meta: &ObjectMeta) {
        let inside =
            meta.location.as_ref().get(self.prefix.as_ref().len()..).unwrap_or_default().trim_start_matches('/');
        // One of no bytes before those below it marks a folder.
        let is_mark = |(name, stat): &(String, Stat)| {
            stat.bytes == 0 && inside.strip_prefix(name.as_str()).is_some_and(|after| after.starts_with('/'))
        };
        let next = (!inside.is_empty()).then(|| (inside.to_owned(), stat_of(meta)));
        self.listing.extend(std::mem::replace(&mut self.last, next).filter(|last| !is_mark(last)));
    }

    fn end(mut self) -> Listing {
        self.listing.extend(self.last);
        self.listing
    }
}

/// The stats of files below a folder, whatever earlier listings said if `now`: by a listing if they are many.
pub fn stats(root: &Path, names: &[String], now: bool) -> io::Result<Vec<Option<Stat>>> {
    if !now {
        // The folder may have been listed part by part.
        let found = |name| known(&root.join(name)).map(|(listing, inside)| listing.get(&inside).copied());
        if let Some(found) = names.iter().map(found).collect() {
            return Ok(found);
        }
    }
    if names.len() > MOST_ASKED && object(root)?.location.scheme != Scheme::Http {
        let listing = if now { Arc::new(between(root, names)?) } else { listing(root)? };
        return Ok(names.iter().map(|name| listing.get(name).copied()).collect());
    }
    let objects = names.iter().map(|name| object(&root.join(name))).collect::<io::Result<Vec<_>>>()?;
    let asked = stream::iter(objects).map(|Object { store, key, .. }| async move {
        match store.head(&key).await {
            Ok(meta) => Ok(Some(stat_of(&meta))),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(cause) => Err(fault(cause)),
        }
    });
    client::attempt(asked.buffered(AT_ONCE).collect::<Vec<_>>())?.into_iter().collect()
}

/// The objects below a prefix from the first of some names to the last, in the order of the keys, as they are now.
fn between(root: &Path, names: &[String]) -> io::Result<Listing> {
    let Object { store, key, .. } = listed(root)?;
    let place = |name: &String| object(&root.join(name)).map(|object| object.key);
    let (first, last) = (names.iter().min().map(place).transpose()?, names.iter().max().map(place).transpose()?);
    let (Some(first), Some(last)) = (first, last) else { return Ok(Listing::new()) };
    // What is listed comes after it.
    let before = first.as_ref().char_indices().next_back().map_or("", |(at, _)| &first.as_ref()[..at]);
    let before = Key::parse(before).unwrap_or_else(|_| key.clone());
    let mut pages = store.list_with_offset(Some(&key), &before).ready_chunks(PAGE);
    let mut listing = Lister::new(&key);
    while let Some(page) = client::attempt(pages.next())? {
        for meta in page {
            let meta = meta.map_err(fault)?;
            if meta.location > last {
                return Ok(listing.end());
            }
            listing.add(&meta);
        }
    }
    Ok(listing.end())
}

/// The prefix to list.
fn listed(folder: &Path) -> io::Result<Object> {
    let object = object(folder)?;
    if object.location.scheme == Scheme::Http {
        let message = "https:// has no folders that could be listed: name its files";
        return Err(io::Error::new(ErrorKind::Unsupported, message));
    }
    Ok(object)
}
