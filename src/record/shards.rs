//! The finished shards of a result that is not published yet, each with a receipt.
//!
//! Several processes may make the shards of one result, on several machines: the files of each are written once, under names that the
//! plan decides, into a folder that the fingerprint of the result names. A shard counts as finished when its receipt is
//! there and its files are as the receipt says; what is not finished is made again. Since equal fingerprints give equal bytes, it
//! does not matter who writes a shard, nor how often.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::receipt::output_damage;
use super::sealed::{sealed, unseal};
use crate::source::Learned;
use crate::store::{self, MOST_RECEIPT};
use crate::table::FileRecord;

/// The format version of the receipts of shards; those of another format count as missing.
const FORMAT: u32 = 2;

/// Characters of a fingerprint that name a folder.
const KEY: usize = 16;

/// The record of one shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShardReceipt {
    format: u32,
    /// The fingerprint of the result that it is a part of.
    pub fingerprint: String,
    /// Its name.
    pub shard: String,
    /// Rows of its inputs, as the progress counts them.
    pub rows: u64,
    /// Its files.
    pub files: Vec<FileRecord>,
    /// What was learned from the images of a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<Learned>,
    /// What computed: the device and, of a CPU, its instructions. Shards that differ in it may differ in their last bits.
    pub arithmetic: String,
    /// The name of the machine.
    pub host: String,
    /// Duration in seconds.
    pub seconds: f64,
}

impl ShardReceipt {
    /// The receipt of a shard that this machine has made, of so many rows, with what it learned, and in so many seconds.
    pub fn new(
        folder: &ShardFolder,
        (shard, rows): (&str, u64),
        (files, learned): (Vec<FileRecord>, Option<Learned>),
        arithmetic: String,
        seconds: f64,
    ) -> Self {
        let (fingerprint, seconds) = (folder.fingerprint.clone(), (seconds * 1000.0).round() / 1000.0);
        let host = store::local::host();
        Self { format: FORMAT, fingerprint, shard: shard.to_owned(), rows, files, learned, arithmetic, host, seconds }
    }

    /// Its files that are not in `folder` as it says.
    fn damaged(&self, folder: &Path) -> Result<Vec<&FileRecord>> {
        let damaged = |file| Ok(output_damage(file, folder, false)?.map(|_| file));
        // Side by side, since there may be many, and a store takes its time for each.
        self.files.par_iter().filter_map(|file| damaged(file).transpose()).collect()
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

    /// The folder of the receipts, and of what else is not published.
    pub fn receipts(&self) -> PathBuf {
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

    /// The receipts that are there, by the names of the shards, without a look at the files.
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
        let bytes = match store::read_whole(&path, MOST_RECEIPT) {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause).with_context(|| format!("cannot read {}", path.display())),
        };
        let receipt = unseal(&bytes).and_then(|text| serde_json::from_str::<ShardReceipt>(&text).ok());
        let fits = |receipt: &ShardReceipt| (receipt.format, &receipt.fingerprint) == (FORMAT, &self.fingerprint);
        Ok(receipt.filter(|receipt| fits(receipt) && receipt.shard == name))
    }

    /// The receipt of the shard of this name, without a look at its files.
    ///
    /// # Errors
    /// The store.
    pub fn receipt(&self, name: &str) -> Result<Option<ShardReceipt>> {
        self.read(&self.receipts(), name)
    }

    /// The receipt of the shard of this name, if it is finished: its files are there, and each is as large and as old as the receipt
    /// says, or has its digest.
    ///
    /// # Errors
    /// The store, interruption.
    pub fn finished(&self, name: &str) -> Result<Option<ShardReceipt>> {
        let Some(receipt) = self.receipt(name)? else { return Ok(None) };
        let is_finished = receipt.damaged(&self.files())?.is_empty();
        Ok(is_finished.then_some(receipt))
    }

    /// As [`Self::finished`]; files that are not as the receipt says, which would be in the way of those that are made in their place,
    /// are removed.
    ///
    /// # Errors
    /// As [`Self::finished`].
    pub fn finished_or_removed(&self, name: &str) -> Result<Option<ShardReceipt>> {
        let Some(receipt) = self.receipt(name)? else { return Ok(None) };
        let folder = self.files();
        let damaged = receipt.damaged(&folder)?;
        if damaged.is_empty() {
            return Ok(Some(receipt));
        }
        let mut paths = damaged.iter().map(|file| folder.join(&file.name));
        paths.try_for_each(|path| store::of(&path).remove(&path)).map(|()| None)
    }

    /// Stores the receipt of a shard whose files are finished.
    ///
    /// # Errors
    /// The store.
    pub fn keep(&self, receipt: &ShardReceipt) -> Result<()> {
        let path = self.receipts().join(receipt_name(&receipt.shard));
        store::write_whole(&path, &sealed(receipt)?).map(|_| ())
    }
}

/// The name of the receipt of a shard.
fn receipt_name(name: &str) -> String {
    format!("{name}.json")
}
