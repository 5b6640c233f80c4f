//! A new prefix of objects: claimed first, and marked as whole at last.
//!
//! The objects appear one after the other. As Spark does, an object `_SUCCESS` is put when all are there, and readers of whole folders
//! skip names that start with `_`.

use std::path::Path;

use anyhow::{Context, Result};

use super::put::swap;
use super::{Remote, list};
use crate::error;
use crate::store::local::host;
use crate::store::{Store, taken};

/// The object by which a process claims a prefix.
const CLAIM: &str = "_writing";
/// The object that says that all are there.
const WHOLE: &str = "_SUCCESS";

pub fn new_folder(folder: &Path, write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let unwritable = || format!("cannot write to {}", folder.display());
    list::forget(None);
    let claim = folder.join(CLAIM);
    let claimed = list::kind(&claim).with_context(unwritable)?.is_some();
    if !claimed && list::kind(folder).with_context(unwritable)?.is_some() {
        return Err(taken(folder));
    }
    let me = format!("process {} on {} since {}", std::process::id(), host(), jiff::Timestamp::now());
    if claimed || swap(&claim, me.as_bytes(), None).with_context(unwritable)?.is_none() {
        let holder = crate::store::read_text(&claim, 1 << 10).unwrap_or_default();
        let message = format!("{} is being written by {holder}", folder.display());
        return Err(error::try_again(format!("{message}; if that was killed, remove what is there")));
    }
    let written = write(folder).and_then(|()| Remote.replace(&folder.join(WHOLE), b""));
    list::forget(None);
    if written.is_err() {
        let mut left = Vec::new();
        _ = list::walk(folder, &mut |path, _| left.push(path));
        left.iter().for_each(|path| _ = Remote.remove(path));
    }
    written.and(Remote.remove(&claim))
}
