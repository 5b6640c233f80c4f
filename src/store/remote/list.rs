//! Lists objects, in pages of a thousand as stores answer them.
//!
//! A store has no folders: a prefix counts as one if there is a key below it. Keys that other programs put there to mark a folder, of
//! no bytes and with a slash at their end, are left out.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::stream::{self, StreamExt};
use object_store::{Error, ObjectStoreExt};

use super::client::{self, Object, object};
use super::fault::fault;
use super::read::stat_of;
use crate::store::url::Scheme;
use crate::store::{PathKind, Stat};

/// Files of one folder above which a listing of the folder costs less than asking for each.
const MOST_ASKED: usize = 32;
/// How many requests are under way at a time.
const AT_ONCE: usize = 32;

/// The objects below a prefix, by their keys from there on.
type Listing = BTreeMap<String, Stat>;

/// The listings of this process, with their prefixes. A folder of a million pictures is listed by a thousand requests, and asked for
/// many times: a listing serves until [`forget`].
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

/// What a URL names; none if there is nothing.
pub fn kind(path: &Path) -> io::Result<Option<PathKind>> {
    if let Some((listing, inside)) = known(path).filter(|(_, inside)| !inside.is_empty()) {
        let folder = format!("{inside}/");
        let below = listing.range(folder.clone()..).next().is_some_and(|(key, _)| key.starts_with(&folder));
        let is_file = listing.contains_key(&inside).then_some(PathKind::File);
        return Ok(is_file.or(below.then_some(PathKind::Folder)));
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

/// The names in a prefix, sorted.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    let Object { store, key, .. } = listed(folder)?;
    let found = client::wait(store.list_with_delimiter(Some(&key)))?;
    let objects = found.objects.iter().map(|object| &object.location).chain(&found.common_prefixes);
    let mut names: Vec<_> = objects.filter(|found| **found != key).filter_map(|found| found.filename()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Err(io::Error::new(ErrorKind::NotFound, "there is nothing below it"));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Hands every object below a prefix to `each`, in the order of the keys.
pub fn walk(folder: &Path, each: &mut dyn FnMut(PathBuf, Stat)) -> io::Result<()> {
    let listing = listing(folder)?;
    listing.iter().for_each(|(inside, stat)| each(folder.join(inside), *stat));
    Ok(())
}

fn listing(folder: &Path) -> io::Result<Arc<Listing>> {
    if let Some((listing, _)) = known(folder).filter(|(_, inside)| inside.is_empty()) {
        return Ok(listing);
    }
    let Object { store, key, .. } = listed(folder)?;
    let (mut listing, mut last) = (Listing::new(), None::<(String, Stat)>);
    // Waits once for a page and not for each of its keys.
    let mut pages = store.list(Some(&key)).ready_chunks(1000);
    while let Some(page) = client::attempt(pages.next())? {
        for meta in page {
            let meta = meta.map_err(fault)?;
            let inside = meta.location.as_ref().get(key.as_ref().len()..).unwrap_or_default().trim_start_matches('/');
            let next = (!inside.is_empty()).then(|| (inside.to_owned(), stat_of(&meta)));
            let is_mark = |(name, stat): &(String, Stat)| {
                stat.bytes == 0 && inside.strip_prefix(name.as_str()).is_some_and(|after| after.starts_with('/'))
            };
            listing.extend(std::mem::replace(&mut last, next).filter(|last| !is_mark(last)));
        }
    }
    listing.extend(last);
    let listing = Arc::new(listing);
    listings().push((folder.to_owned(), Arc::clone(&listing)));
    Ok(listing)
}

/// The stats of files below a folder: by a listing if they are many.
pub fn stats(root: &Path, names: &[String]) -> io::Result<Vec<Option<Stat>>> {
    let is_listed = known(root).is_some_and(|(_, inside)| inside.is_empty());
    if is_listed || (names.len() > MOST_ASKED && object(root)?.location.scheme != Scheme::Http) {
        let listing = listing(root)?;
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

/// The prefix to list.
fn listed(folder: &Path) -> io::Result<Object> {
    let object = object(folder)?;
    if object.location.scheme == Scheme::Http {
        let message = "https:// has no folders that could be listed: name its files";
        return Err(io::Error::new(ErrorKind::Unsupported, message));
    }
    Ok(object)
}
