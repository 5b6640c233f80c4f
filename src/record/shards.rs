//! The finished shards of a result that is not published yet, each with a receipt.
//!
//! Several processes may make the shards of one result, on several machines: each shard is written once, under a name that its
//! split and number decide, into a folder that the fingerprint of the result names. A shard counts as finished when its receipt is
//! there and its file is as the receipt says; what is not finished is made again. Since equal fingerprints give equal bytes, it
//! does not matter who writes a shard, nor how often.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::receipt::output_damage;
use super::sealed::{sealed, unseal};
use crate::store::{self, MOST_TEXT};
use crate::table::FileRecord;

/// The format version of the receipts of shards; those of another format count as missing.
const FORMAT: u32 = 1;

/// Characters of a fingerprint that name a folder.
const KEY: usize = 16;

/// The record of one shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShardReceipt {
    format: u32,
    /// The fingerprint of the result that it is a part of.
    pub fingerprint: String,
    /// The file.
    pub file: FileRecord,
    /// What computed: the device and, of a CPU, its instructions. Shards that differ in it may differ in their last bits.
    pub arithmetic: String,
    /// The name of the machine.
    pub host: String,
    /// Duration in seconds.
    pub seconds: f64,
}

impl ShardReceipt {
    /// The receipt of a shard that this machine has made in so many seconds.
    pub fn new(fingerprint: &str, file: FileRecord, arithmetic: String, seconds: f64) -> Self {
        let seconds = (seconds * 1000.0).round() / 1000.0;
        Self {
            format: FORMAT,
            fingerprint: fingerprint.to_owned(),
            file,
            arithmetic,
            host: store::local::host(),
            seconds,
        }
    }
}

/// Where the shards of a result are until it is published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShardFolder {
    /// The run directory.
    pub run: PathBuf,
    /// The stage.
    pub stage: String,
    /// The fingerprint of the result.
    pub fingerprint: String,
}

impl ShardFolder {
    /// The folder of the files.
    pub fn files(&self) -> PathBuf {
        store::of(&self.run).shards(&self.run, &self.stage).join(self.key())
    }

    /// The folder of the receipts.
    fn receipts(&self) -> PathBuf {
        self.files().with_extension("receipts")
    }

    /// The start of the fingerprint, which names the folders.
    pub fn key(&self) -> &str {
        self.fingerprint.get(..KEY).unwrap_or(&self.fingerprint)
    }

    /// Creates the folders, if they are missing.
    ///
    /// # Errors
    /// The store.
    pub fn create(&self) -> Result<()> {
        [self.files(), self.receipts()].iter().try_for_each(|folder| store::of(folder).create_folder(folder))
    }

    /// The receipts that are there, by the names of the files, without a look at the files.
    ///
    /// # Errors
    /// The store.
    pub fn receipts_of<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<BTreeMap<String, ShardReceipt>> {
        let folder = self.receipts();
        let there = match store::of(&folder).list(&folder) {
            Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Vec::new(),
            there => there.with_context(|| format!("cannot read {}", folder.display()))?,
        };
        let there = names.filter(|name| there.binary_search(&receipt_name(name)).is_ok());
        let receipts = there.map(|name| Ok(self.read(&folder, name)?.map(|receipt| (name.to_owned(), receipt))));
        receipts.filter_map(Result::transpose).collect()
    }

    fn read(&self, folder: &Path, name: &str) -> Result<Option<ShardReceipt>> {
        let path = folder.join(receipt_name(name));
        let bytes = match store::read_whole(&path, MOST_TEXT) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause).with_context(|| format!("cannot read {}", path.display())),
        };
        let receipt = unseal(&bytes).and_then(|text| serde_json::from_str::<ShardReceipt>(&text).ok());
        let fits = |receipt: &ShardReceipt| (receipt.format, &receipt.fingerprint) == (FORMAT, &self.fingerprint);
        Ok(receipt.filter(|receipt| fits(receipt) && receipt.file.name == name))
    }

    /// The receipt of the file of this name, if it is finished: the file is there, and as large and as old as the receipt says, or
    /// has its digest.
    ///
    /// # Errors
    /// The store, interruption.
    pub fn finished(&self, name: &str) -> Result<Option<ShardReceipt>> {
        let Some(receipt) = self.read(&self.receipts(), name)? else { return Ok(None) };
        Ok(output_damage(&receipt.file, &self.files(), false)?.is_none().then_some(receipt))
    }

    /// As [`Self::finished`]; a file that is not as its receipt says, which would be in the way of the one that is made in its place, is
    /// removed.
    ///
    /// # Errors
    /// As [`Self::finished`].
    pub fn finished_or_removed(&self, name: &str) -> Result<Option<ShardReceipt>> {
        let Some(receipt) = self.read(&self.receipts(), name)? else { return Ok(None) };
        if output_damage(&receipt.file, &self.files(), false)?.is_none() {
            return Ok(Some(receipt));
        }
        let path = self.files().join(name);
        store::of(&path).remove(&path).map(|()| None)
    }

    /// Stores the receipt of a file that is finished.
    ///
    /// # Errors
    /// The store.
    pub fn keep(&self, receipt: &ShardReceipt) -> Result<()> {
        let path = self.receipts().join(receipt_name(&receipt.file.name));
        store::write_whole(&path, &sealed(receipt)?).map(|_| ())
    }
}

/// The name of the receipt of a file.
fn receipt_name(name: &str) -> String {
    format!("{name}.json")
}
