//! Judges the images that were written, when all are: what a shard alone cannot know.

use std::path::Path;

use anyhow::Result;
use arrow_array::RecordBatch;

use super::{NAME, NOISY, splits};
use crate::config::Pipeline;
use crate::error;
use crate::image::{Class, Classes, Split};
use crate::progress::Progress;
use crate::record::TableSet;
use crate::source::{Learned, REJECTED, Source};
use crate::table::{FileRecord, Table, ids};

/// The largest pixel of images that use so little of the range of bytes that it is likely a mistake: that of 14 bits in 16.
const DARK: u8 = 64;

/// Judges all images of one version of a source, which were written to `files`, by what was learned from them: tells what was passed over,
/// and returns the tables about the images, by file name.
///
/// # Errors
/// Pictures that could not be read and may not be left out, a held-out label that no image has, a split without images.
pub fn judge(
    pipeline: &Pipeline,
    (source, set): (&dyn Source, TableSet),
    learned: &Learned,
    files: &[FileRecord],
    progress: &Progress,
) -> Result<Vec<(String, RecordBatch)>> {
    // Held-out labels that no image has are a mistake in the settings.
    let held_out = Class::labels(&pipeline.held_out, &source.classes());
    let missing: Vec<_> = held_out.difference(&learned.labels).collect();
    if !missing.is_empty() {
        return Err(held_out_of_nothing(&missing, &source.classes()));
    }
    let tables = source.tables()?;
    let is_empty = |split: &Split| {
        let start = set.beside(&format!("{}-", split.name()));
        files.iter().filter(|file| file.name.starts_with(&start)).all(|file| file.rows.unwrap_or(0) == 0)
    };
    if let Some(split) = splits(source).find(is_empty) {
        return Err(error::data(match split {
            Split::Train if !pipeline.held_out.is_empty() => "source.hold-out leaves no image to train on".to_owned(),
            Split::Validation if !pipeline.held_out.is_empty() => {
                "source.hold-out leaves no image for validation".to_owned()
            }
            _ => format!("no picture of the split {} can be read", split.name()),
        }));
    }
    let brightest = learned.brightest;
    if brightest <= DARK && !pipeline.source.kind().has_vectors() {
        progress.note(&format!(
            "ingest: the largest of all pixels is {brightest} of 255: the values use a small part of the range of their type, as \
             those of 12 bits in files of 16 do; `levels` of the source says which numbers are black and white, as [0, 4095]"
        ));
    }
    source.passed_over().iter().for_each(|line| progress.note(line));
    for (name, table) in &tables {
        if *name == REJECTED && table.num_rows() > 0 {
            progress.note(&format!("ingest: {} pictures cannot be read: see {name}", table.num_rows()));
        }
    }
    Ok(tables.into_iter().map(|(name, table)| (set.beside(name), table)).collect())
}

/// Checks that the images of each pair that was written have one size.
///
/// # Errors
/// Two that do not, with their names.
pub fn check_pairs(folder: &Path, files: &[FileRecord], source: &dyn Source, noisy: &dyn Source) -> Result<()> {
    let digests = files.iter().map(|file| (format!("{NAME}/{}", file.name), file.digest.clone())).collect();
    for split in splits(source) {
        let open = |set: TableSet| -> Result<Table> {
            let shards = set.shards(&digests, split)?;
            Table::open(&shards.iter().map(|shard| folder.join(set.beside(&shard.name))).collect::<Vec<_>>())
        };
        let (clean_table, noisy_table) = (open(NAME.into())?, open(NOISY)?);
        for group in 0..clean_table.row_groups().min(noisy_table.row_groups()) {
            let (clean, other) = (clean_table.shapes(group)?, noisy_table.shapes(group)?);
            let differing = clean.iter().zip(other.iter()).position(|(clean, other)| clean != other);
            if let Some(row) = differing {
                let shapes = [clean.iter().nth(row), other.iter().nth(row)];
                let [expected, found] = shapes.map(|shape| shape.map_or(String::new(), |shape| shape.to_string()));
                let mut known = Vec::new();
                for batch in clean_table.row_group(group)? {
                    known.extend(ids(&batch?)?.values().iter().map(|&id| id as u64));
                }
                let id = known.get(row).copied().unwrap_or_default();
                let [clean, noisy] = [source, noisy].map(|source| source.name(split, id));
                let advice = "the images of a pair need the same rows, columns and channels";
                return Err(error::data(format!("{noisy} is {found}, but {clean} {expected}: {advice}")));
            }
        }
        if clean_table.rows() != noisy_table.rows() {
            return Err(error::bug("a source has other noisy images than clean ones"));
        }
    }
    Ok(())
}

/// The error for held-out labels that no image has.
pub fn held_out_of_nothing(labels: &[impl ToString], classes: &Classes) -> anyhow::Error {
    const MOST: usize = 20;
    let labels = labels.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let names = classes.iter().flat_map(|names| names.iter()).enumerate();
    let names = names.take(MOST).map(|(label, name)| format!("; {label} is {name}")).collect::<String>();
    let more = if classes.as_ref().is_some_and(|names| names.len() > MOST) { "; and so on" } else { "" };
    error::data(format!("source.hold-out names {labels}, which is the label of no image{names}{more}"))
}
