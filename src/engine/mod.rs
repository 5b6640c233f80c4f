//! Map stages as jobs: a job applies an operation to each batch of a table and writes the results to another table.
//!
//! A [`Job`] is plain data, which can be sent to another process: the operation, the row groups of the input files, and the
//! output file. An [`Engine`] runs jobs; [`threads::Threads`] runs them on the threads of this process.

mod centre;
pub mod codes;
mod ensemble;
pub mod inference;
pub mod making;
pub mod mapping;
pub mod operation;
mod pictures;
pub mod restored;
pub mod strips;
pub mod threads;
pub mod tiles;

use std::ops::Range;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::table::FileRecord;
use operation::Operation;

/// The part of a map stage that one process runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Job {
    /// The operation on each batch.
    pub operation: Operation,
    /// The input rows.
    pub input: TablePart,
    /// The same rows of another table, as a second input.
    pub companion: Option<TablePart>,
    /// The file that is written.
    pub output: Shard,
}

/// Row groups of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TablePart {
    /// The Parquet file.
    pub path: PathBuf,
    /// blake3 of the file, in hexadecimal, by which another process can check that it reads the same file.
    pub digest: String,
    /// Its row groups.
    pub row_groups: Range<usize>,
}

/// A file of a stage's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Shard {
    /// The folder that it is written to.
    pub folder: PathBuf,
    /// Its name.
    pub name: String,
    /// Compression level of zstd.
    pub compression_level: i32,
}

/// Runs jobs.
pub trait Engine {
    /// Writes the table of each job and returns the records of the files in the order of the jobs; `rows_done` is called with
    /// the number of rows of each finished batch.
    ///
    /// # Errors
    /// Unreadable input, a companion with other rows, errors of the operation or of the file system.
    fn run(&self, jobs: &[Job], rows_done: &(dyn Fn(u64) + Sync)) -> Result<Vec<FileRecord>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corruption::{Corruption, Gaussian};
    use crate::image::{ImageShape, Pixels, Shapes, Split};
    use crate::source::batch;
    use crate::table::{Content, RowGroup, TableFile, WriteOptions, row_group_rows, write_table};
    use burn::tensor::Device;
    use std::path::Path;
    use threads::Threads;

    const OPTIONS: WriteOptions =
        WriteOptions { compression_level: 3, threads: 2, sorted: true, classes: None, label_lists: None };

    /// A table of two row groups.
    fn images(folder: &Path) -> TableFile {
        let image = ImageShape { height: 64, width: 64, channels: 1 };
        let rows = row_group_rows(Content::Images(image.into(), Pixels::U8), 1);
        let groups = [0..rows, rows..rows + 7].map(|ids| {
            let group: RowGroup<'_> = Box::new(move |emit| {
                let bytes: Vec<u8> = ids.clone().flat_map(|id| vec![id as u8; image.len()]).collect();
                let shapes = Shapes::Equal(image, ids.len());
                emit(batch(Split::Test, &shapes, ids.clone().map(|id| id as u64), vec![None; ids.len()], bytes)?)
            });
            Ok(group)
        });
        write_table(folder, "images.parquet", Content::Images(image.into(), Pixels::U8), OPTIONS, groups.into_iter())
            .expect("is written");
        TableFile::open(&folder.join("images.parquet")).expect("is whole")
    }

    #[test]
    fn a_job_sent_as_text_makes_the_same_file_and_parts_make_the_same_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = images(folder.path());
        assert_eq!(table.row_groups(), 2);
        let job = |row_groups: Range<usize>, name: &str| Job {
            operation: Operation::Corrupt {
                corruption: Corruption::Gaussian(Gaussian::new(0.25)),
                seed: 3,
                split: Split::Test,
                pixels: Pixels::F32,
            },
            input: TablePart { path: table.path().to_owned(), digest: "00".to_owned(), row_groups },
            companion: None,
            output: Shard { folder: folder.path().to_owned(), name: name.to_owned(), compression_level: 3 },
        };
        let engine = Threads { threads: 2, device: Device::flex() };
        let whole = job(0..2, "whole.parquet");
        let sent: Job = serde_json::from_str(&serde_json::to_string(&whole).expect("is JSON")).expect("is a job");
        assert_eq!(sent, whole);
        let made = engine.run(&[whole], &|_| {}).expect("runs");
        let again = engine.run(&[sent], &|_| {}).expect("runs");
        assert_eq!(made[0].digest, again[0].digest);
        let parts = [job(0..1, "first.parquet"), job(1..2, "second.parquet")];
        let parts = engine.run(&parts, &|_| {}).expect("run");
        let rows = |name: &str| -> Vec<Vec<f32>> {
            let table = TableFile::open(&folder.path().join(name)).expect("is whole");
            let batches = table.all().map(|batch| {
                let batch = batch.expect("is whole");
                let batch_rows = batch.num_rows();
                let extent = table.extent().expect("has images");
                let image =
                    move |row| crate::table::Images::of(&batch.slice(row, 1), extent).expect("are there").numbers();
                (0..batch_rows).map(image)
            });
            batches.flatten().collect()
        };
        assert_eq!(parts.iter().map(|part| part.rows).sum::<Option<u64>>(), made[0].rows);
        assert!(rows("whole.parquet") == [rows("first.parquet"), rows("second.parquet")].concat());
    }
}
