//! Pictures that could not be read: an end of the run, or a list of those that were left out.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use arrow_array::RecordBatch;

use super::{listing_table, string_column};
use crate::config::{Faults, OnError};
use crate::error;
use crate::table::Split;

/// A picture that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reject {
    /// Its split.
    pub split: Split,
    /// Its position in the split.
    pub id: u64,
    /// Where it is in the source.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What was rejected so far, by any thread.
pub struct Rejections {
    faults: Faults,
    /// The settings that say what becomes of them.
    section: &'static str,
    list: Mutex<Vec<Reject>>,
}

impl Rejections {
    /// None yet; `section` holds the settings.
    pub fn new(faults: Faults, section: &'static str) -> Self {
        Self { faults, section, list: Mutex::new(Vec::new()) }
    }

    /// Whether pictures may be left out.
    pub fn skips(&self) -> bool {
        self.faults.on_error == OnError::Skip
    }

    /// Notes a picture; `name` names it in messages.
    ///
    /// # Errors
    /// It may not be left out, or it is one too many.
    pub fn add(&self, reject: Reject, name: &str) -> Result<()> {
        if !self.skips() {
            return Err(self.refuse(&format!("{name}: {}", reject.reason)));
        }
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(reject);
        if list.len() as u64 > self.faults.most {
            let (most, section) = (self.faults.most, self.section);
            let mut few: Vec<_> = list.iter().collect();
            few.sort();
            let few: String =
                few.iter().take(5).map(|reject| format!("\n  {}: {}", reject.path, reject.reason)).collect();
            let limit = format!("more than {most} pictures cannot be read ({section}.max-rejected)");
            return Err(error::data(format!("{limit}, among them{few}")));
        }
        Ok(())
    }

    /// The error that a picture which may not be left out is.
    pub fn refuse(&self, what: &str) -> anyhow::Error {
        let section = self.section;
        error::data(format!("cannot use {what}; {section}.on-error = \"skip\" leaves such pictures out and lists them"))
    }

    /// What was rejected, in the order of the splits and ids.
    pub fn listed(&self) -> Vec<Reject> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner).clone();
        list.sort();
        list
    }

    /// The table of what was rejected, if anything may be.
    ///
    /// # Errors
    /// None that content can cause.
    pub fn table(&self) -> Result<Vec<(&'static str, RecordBatch)>> {
        if !self.skips() {
            return Ok(Vec::new());
        }
        let list = self.listed();
        let text = |field: fn(&Reject) -> &str| string_column(list.iter().map(field));
        let columns = vec![("path", text(|reject| &reject.path)), ("reason", text(|reject| &reject.reason))];
        Ok(vec![("rejected.parquet", listing_table(list.iter().map(|reject| (reject.split, reject.id)), columns)?)])
    }
}
