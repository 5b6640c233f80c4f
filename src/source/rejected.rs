//! Collects pictures that could not be decoded: they end the run, or are left out and listed.
//!
//! A run does not end at the first bad picture, so that one run names all that need repair. The remaining pictures are decoded,
//! up to a bound, while nothing more is written.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use serde::{Deserialize, Serialize};

use super::{Asker, listing_table, string_column};
use crate::error;
use crate::image::Split;
use crate::source::settings::{Faults, OnError};

/// The name of the table of rejected pictures.
pub const REJECTED: &str = "rejected.parquet";
/// Most pictures that a message names.
const MOST_NAMED: usize = 10;
/// Most bad pictures that are counted before the run ends.
const MOST_COUNTED: usize = 1000;
/// Most pictures, good ones included, that are decoded after the first bad one.
const MOST_LOOKED_AT: u64 = 100_000;

/// A picture that could not be read or decoded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reject {
    /// Its split.
    pub split: Split,
    /// Its position in the split.
    pub id: u64,
    /// Its path in the source.
    pub path: String,
    /// Its name in messages.
    pub name: String,
    /// The reason.
    pub reason: String,
}

/// The rejected pictures, collected from all threads.
pub struct Rejections {
    faults: Faults,
    /// Who decides about bad pictures: a section of the pipeline, or a command.
    asker: Asker,
    seen: Mutex<Looked>,
}

/// What was seen of bad pictures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Looked {
    /// The pictures.
    list: Vec<Reject>,
    /// Pictures that were decoded since the first bad one, if it ends the run.
    #[serde(default, skip_serializing_if = "crate::setting::is_off")]
    since: u64,
}

impl Looked {
    /// Whether there was a bad picture.
    pub fn is_bad(&self) -> bool {
        !self.list.is_empty()
    }
}

impl Rejections {
    /// An empty collection for the pictures of this section of the pipeline.
    pub fn new(faults: Faults, section: &'static str) -> Self {
        Self { faults, asker: Asker::Section(section), seen: Mutex::default() }
    }

    /// An empty collection for the pictures that a command reads.
    pub fn of_command(faults: Faults) -> Self {
        Self { faults, asker: Asker::Command, seen: Mutex::default() }
    }

    /// An empty collection for the pictures of a call, of which none may be bad.
    pub fn of_call() -> Self {
        let faults = Faults { on_error: OnError::Fail, most: 0 };
        Self { faults, asker: Asker::Call, seen: Mutex::default() }
    }

    /// The same, after others were looked at.
    pub fn after(self, looked: Looked) -> Self {
        Self { seen: Mutex::new(looked), ..self }
    }

    /// What was seen.
    pub fn looked(&self) -> Looked {
        self.seen().clone()
    }

    /// Adds the pictures that others have seen and left out.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn learn(&self, looked: Looked) -> Result<()> {
        looked.list.into_iter().try_for_each(|reject| self.add(reject))
    }

    /// What is done with bad pictures.
    pub fn faults(&self) -> Faults {
        self.faults
    }

    /// Who decides about bad pictures.
    pub fn asker(&self) -> Asker {
        self.asker
    }

    /// Whether pictures may be left out.
    pub fn skips(&self) -> bool {
        self.faults.on_error == OnError::Skip
    }

    /// Whether the run has to end, so that good pictures need not be written.
    pub fn ends_the_run(&self) -> bool {
        !self.skips() && !self.seen().list.is_empty()
    }

    /// Adds a picture.
    ///
    /// # Errors
    /// Too many pictures were rejected.
    pub fn add(&self, reject: Reject) -> Result<()> {
        let mut seen = self.seen();
        seen.list.push(reject);
        if !self.skips() {
            return if seen.list.len() < MOST_COUNTED { Ok(()) } else { Err(self.failure(&seen.list, "at least ")) };
        }
        if seen.list.len() as u64 > self.faults.most {
            let (most, setting) = (self.faults.most, self.asker.setting("max-rejected"));
            let mut few: Vec<_> = seen.list.iter().collect();
            few.sort();
            let few: String =
                few.iter().take(5).map(|reject| format!("\n  {}: {}", reject.path, reject.reason)).collect();
            let limit = format!("more than {most} pictures cannot be read ({setting})");
            return Err(error::data(format!("{limit}, among them{few}")));
        }
        Ok(())
    }

    /// Counts decoded pictures, good ones included.
    ///
    /// # Errors
    /// The run has to end, and enough pictures were decoded to report it.
    pub fn looked_at(&self, pictures: usize) -> Result<()> {
        let mut seen = self.seen();
        if self.skips() || seen.list.is_empty() {
            return Ok(());
        }
        seen.since += pictures as u64;
        if seen.since > MOST_LOOKED_AT { Err(self.failure(&seen.list, "at least ")) } else { Ok(()) }
    }

    /// The error for rejected pictures, where they may not be left out or no good ones exist.
    pub fn failure(&self, list: &[Reject], least: &str) -> anyhow::Error {
        let mut list: Vec<_> = list.iter().collect();
        list.sort();
        let setting = self.asker.setting("on-error");
        let advice = match self.asker {
            // No good one is left.
            _ if self.skips() => String::new(),
            Asker::Section(_) => format!("; {setting} = \"skip\" leaves such pictures out and lists them"),
            Asker::Command => format!("; {setting} skip leaves such pictures out and lists them"),
            Asker::Call => String::new(),
        };
        if let [reject] = list[..] {
            return error::data(format!("cannot use {}: {}{advice}", reject.name, reject.reason));
        }
        let line = |reject: &&Reject| format!("\n  {}: {}", reject.name, reject.reason);
        let (named, others) = list.split_at(list.len().min(MOST_NAMED));
        let mut text: String = named.iter().map(line).collect();
        if !others.is_empty() {
            text += &format!("\n  and {} more", others.len());
            // Other reasons than those above are shown too: the first pictures may fail in an unusual way.
            let mut known: HashSet<&str> = named.iter().map(|reject| reject.reason.as_str()).collect();
            let new = others.iter().filter(|reject| known.insert(&reject.reason));
            text.extend(new.take(3).map(|reject| format!(", such as {}: {}", reject.name, reject.reason)));
        }
        error::data(format!("cannot use {least}{} pictures{advice}{text}", list.len()))
    }

    /// Ends the run if pictures could not be read and may not be left out.
    ///
    /// # Errors
    /// The run has to end.
    pub fn check(&self) -> Result<()> {
        if self.ends_the_run() { Err(self.failure(&self.seen().list, "")) } else { Ok(()) }
    }

    fn seen(&self) -> MutexGuard<'_, Looked> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rejected pictures, sorted by split and id.
    pub fn listed(&self) -> Vec<Reject> {
        let mut list = self.seen().list.clone();
        list.sort();
        list
    }

    /// The table of rejected pictures, if pictures may be left out.
    ///
    /// # Errors
    /// Pictures were rejected and may not be left out.
    pub fn table(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        self.check()?;
        if !self.skips() {
            return Ok(Vec::new());
        }
        let list = self.listed();
        let text = |field: fn(&Reject) -> &str| string_column(list.iter().map(field));
        let columns = vec![("path", text(|reject| &reject.path)), ("reason", text(|reject| &reject.reason))];
        Ok(vec![(REJECTED, listing_table(list.iter().map(|reject| (reject.split, reject.id)), columns)?)])
    }
}

/// One line about the pictures in a table of [`Rejections::table`], which is written to `place`; none if it is empty.
pub fn summary(table: &RecordBatch, place: &Path) -> Option<String> {
    let text = |name: &str| Some(table.column_by_name(name)?.as_string_opt::<i32>()?.iter().next()??.to_owned());
    let (path, reason, count, place) = (text("path")?, text("reason")?, table.num_rows(), place.display());
    let pictures = if count == 1 { "picture" } else { "pictures" };
    Some(format!("left out: {count} {pictures} that cannot be used, such as {path}: {reason}; {place} lists them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(id: u64, reason: &str) -> Reject {
        let name = format!("row {id}");
        Reject { split: Split::Train, id, path: name.clone(), name, reason: reason.to_owned() }
    }

    fn failing() -> Rejections {
        Rejections::new(Faults { on_error: OnError::Fail, most: 0 }, "source.x")
    }

    #[test]
    fn the_first_are_named_and_all_are_counted() {
        let rejections = failing();
        assert!(rejections.check().is_ok() && rejections.looked_at(1 << 30).is_ok());
        for id in (0..12).rev() {
            rejections.add(reject(id, "is odd")).expect("goes on");
        }
        rejections.add(reject(50, "is even")).expect("goes on");
        let message = rejections.check().expect_err("ends").to_string();
        assert!(message.starts_with("cannot use 13 pictures; source.x.on-error = \"skip\" leaves"), "{message}");
        assert!(message.contains("\n  row 0: is odd\n  row 1: is odd\n") && !message.contains("row 10"), "{message}");
        assert!(message.ends_with("\n  and 3 more, such as row 50: is even"), "{message}");
    }

    #[test]
    fn counting_ends() {
        let rejections = failing();
        let ends = (0..5000).position(|id| rejections.add(reject(id, "is odd")).is_err());
        assert_eq!(ends, Some(MOST_COUNTED - 1));
        let rejections = failing();
        rejections.add(reject(3, "is odd")).expect("goes on");
        assert!(rejections.looked_at(MOST_LOOKED_AT as usize).is_ok());
        assert!(rejections.looked_at(1).expect_err("ends").to_string().contains("cannot use row 3: is odd"));
    }
}
