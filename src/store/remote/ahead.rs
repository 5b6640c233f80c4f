//! Small objects that are read before they are asked for: one after the other, they would take as long as so many answers.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use object_store::{ObjectMeta, ObjectStoreExt};
use tokio::task::JoinHandle;

use super::client::{self, Object, object, runtime};

/// Largest object that is read ahead.
const MOST_BYTES: u64 = 4 << 20;
/// Most objects that are being read ahead, or were and are not asked for yet.
const MOST: usize = 64;

/// An object as it was answered; none if that failed, or it is large.
type Answer = Option<(ObjectMeta, Bytes)>;

fn pending() -> MutexGuard<'static, Option<HashMap<PathBuf, JoinHandle<Answer>>>> {
    static PENDING: Mutex<Option<HashMap<PathBuf, JoinHandle<Answer>>>> = Mutex::new(None);
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to read objects, as far as there is room for them.
pub fn expect(paths: &mut dyn Iterator<Item = PathBuf>) {
    let mut pending = pending();
    let pending = pending.get_or_insert_default();
    for path in paths {
        if pending.len() >= MOST {
            return;
        }
        let (Ok(Object { store, key, .. }), Ok(runtime)) = (object(&path), runtime()) else { return };
        pending.entry(path).or_insert_with(|| {
            runtime.spawn(async move {
                let answer = store.get(&key).await.ok().filter(|answer| answer.meta.size <= MOST_BYTES)?;
                let meta = answer.meta.clone();
                Some((meta, answer.bytes().await.ok()?))
            })
        });
    }
}

/// The object at a path, if it was read ahead. Whatever went wrong shows when it is read again.
pub fn take(path: &Path) -> io::Result<Answer> {
    let reading = pending().as_mut().and_then(|pending| pending.remove(path));
    reading.map_or(Ok(None), |reading| Ok(client::attempt(reading)?.ok().flatten()))
}
