//! Map stages as jobs: a job applies an operation to each batch of a file and writes the results to another file.
//!
//! A [`Job`] is plain data, which can be sent to another process: the operation, the input files, and the output file.
//! [`threads::Threads`] runs one on the threads of this process; how the jobs of a stage are shared among processes is above, in
//! `stage::shards`.

mod centre;
pub mod codes;
pub mod ensemble;
pub mod inference;
pub mod making;
pub mod mapping;
pub mod operation;
mod pictures;
pub mod restored;
pub mod strips;
pub mod threads;
pub mod tiles;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use operation::Operation;

/// The part of a map stage that one process runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Job {
    /// The operation on each batch.
    pub operation: Operation,
    /// The file whose rows are mapped.
    pub input: InputFile,
    /// A file with the same rows of another table, as a second input.
    pub companion: Option<InputFile>,
    /// The file that is written.
    pub output: OutputFile,
}

/// A file of a table that a job reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InputFile {
    /// Its path.
    pub path: PathBuf,
    /// blake3 of the file, in hexadecimal, by which any process can check that it has read this file.
    pub digest: String,
}

/// The file that a job writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct OutputFile {
    /// The folder that it is written to.
    pub folder: PathBuf,
    /// Its name.
    pub name: String,
    /// Compression level of zstd.
    pub compression_level: i32,
}

impl Job {
    /// The files that it reads, with their digests: tables, and the files of the model.
    pub fn inputs(&self) -> Vec<InputFile> {
        let model = self.operation.model().into_iter().flat_map(|model| {
            let file = |(name, digest): (&String, &String)| InputFile {
                path: model.folder.join(name),
                digest: digest.clone(),
            };
            model.digests.iter().map(file)
        });
        [Some(self.input.clone()), self.companion.clone()].into_iter().flatten().chain(model).collect()
    }
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
        let content = Content::Images(image.into(), Pixels::U8);
        write_table(folder, "images.parquet", content, WriteOptions::new(3, 2), groups.into_iter())
            .expect("is written");
        TableFile::open(&folder.join("images.parquet")).expect("is whole")
    }

    #[test]
    fn a_job_sent_as_text_makes_the_same_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = images(folder.path());
        assert_eq!(table.row_groups(), 2);
        let job = |name: &str| Job {
            operation: Operation::Corrupt {
                corruption: Corruption::Gaussian(Gaussian::new(0.25)),
                seed: 3,
                split: Split::Test,
                pixels: Pixels::F32,
            },
            input: InputFile { path: table.path().to_owned(), digest: "00".to_owned() },
            companion: None,
            output: OutputFile { folder: folder.path().to_owned(), name: name.to_owned(), compression_level: 3 },
        };
        let engine = Threads::new(2, Device::flex());
        let whole = job("whole.parquet");
        let sent: Job = serde_json::from_str(&serde_json::to_string(&whole).expect("is JSON")).expect("is a job");
        assert_eq!(sent, whole);
        let made = engine.run(&whole, &|_| {}).expect("runs");
        let again = engine.run(&sent, &|_| {}).expect("runs");
        assert_eq!((made.digest, made.rows), (again.digest, Some(table.rows())));
    }
}
