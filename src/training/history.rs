//! The losses of the epochs: which of them choose, when a training ends by them, and the table that is published of them.
//!
//! Weights are chosen, and a training is ended, by the validation split where there is one, so that the test split stays unseen, and
//! by the test split elsewhere.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type};
use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use serde::{Deserialize, Serialize};

use crate::error;
use crate::image::Split;
use crate::quality::metrics::Course;
use crate::table::{columns, footer};

/// The file of the table.
pub const HISTORY: &str = "history.parquet";
/// Bytes of it that are read at a time.
const READ_BYTES: u64 = 1 << 20;

/// Losses of one epoch, mean over pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Counted from 1.
    pub epoch: u64,
    /// Mean over the batches of the epoch, each with the weights before its step.
    pub train_loss: f64,
    /// Over the test split, with the weights at the end of the epoch.
    pub test_loss: f64,
    /// Likewise over the validation split, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_loss: Option<f64>,
}

impl EpochRecord {
    /// The loss that epochs are compared by, and its split.
    pub fn choosing(&self) -> (Split, f64) {
        self.validation_loss.map_or((Split::Test, self.test_loss), |loss| (Split::Validation, loss))
    }
}

/// The first epoch with the lowest loss.
pub fn best(history: &[EpochRecord]) -> Option<&EpochRecord> {
    history.iter().reduce(|best, record| if record.choosing().1 < best.choosing().1 { record } else { best })
}

/// When a training ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The last epoch, if it does not end before.
    pub epochs: u64,
    /// Epochs without a lower loss after which it ends, if it ends before.
    pub patience: Option<u64>,
}

impl End {
    /// The epoch after which a training of this history ends, if it is among its epochs.
    pub fn reached(&self, history: &[EpochRecord]) -> Option<u64> {
        let (mut best, mut least) = (0, f64::INFINITY);
        let ends = history.iter().find(|record| {
            let (_, loss) = record.choosing();
            if loss < least {
                (best, least) = (record.epoch, loss);
            }
            record.epoch >= self.epochs
                || self.patience.is_some_and(|patience| record.epoch.saturating_sub(best) >= patience)
        });
        ends.map(|record| record.epoch)
    }
}

/// The course of a training with this history, if there is more to tell than that it took all its epochs: that there is a validation
/// split, or that it might have ended before, `patiently`.
pub fn course(history: &[EpochRecord], patiently: bool) -> Option<Course> {
    let (best, last) = (best(history)?, history.last()?);
    let (chosen_by, _) = best.choosing();
    let told = patiently || chosen_by == Split::Validation;
    told.then_some(Course { epochs: last.epoch, best_epoch: best.epoch, chosen_by })
}

/// The history as a table: a row for each epoch, and a column for the loss of each split.
///
/// # Errors
/// Arrow's, which no content causes.
pub fn table(history: &[EpochRecord]) -> Result<RecordBatch> {
    let column = |name: &str, loss: &dyn Fn(&EpochRecord) -> Option<f64>| -> Option<(Field, ArrayRef)> {
        let losses: Vec<f64> = history.iter().map(loss).collect::<Option<_>>()?;
        Some((Field::new(name, DataType::Float64, false), Arc::new(Float64Array::from(losses))))
    };
    let epochs: ArrayRef = Arc::new(Int64Array::from_iter_values(history.iter().map(|record| record.epoch as i64)));
    let losses = [
        column("train_loss", &|record| Some(record.train_loss)),
        column("test_loss", &|record| Some(record.test_loss)),
        column("validation_loss", &|record| record.validation_loss),
    ];
    let epochs = (Field::new("epoch", DataType::Int64, false), epochs);
    let (fields, columns): (Vec<_>, Vec<_>) = [epochs].into_iter().chain(losses.into_iter().flatten()).unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Reads the history that a training has published in `folder`.
///
/// # Errors
/// A table that cannot be read, or is not what was written.
pub fn read(folder: &Path) -> Result<Vec<EpochRecord>> {
    let path = folder.join(HISTORY);
    let bad = |cause: String| error::data(format!("{} is not what train wrote: {cause}", path.display()));
    let footer = footer(&path)?;
    let all: Vec<usize> = (0..footer.schema().fields().len()).collect();
    let mut history = Vec::new();
    for batch in columns(&path, &footer, &all, READ_BYTES, usize::MAX)? {
        let batch = batch.map_err(bad)?;
        let losses = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Float64Type>();
        let column = |name: &str| losses(name).ok_or_else(|| bad(format!("no column {name}")));
        let epochs = batch.column_by_name("epoch").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let epochs = epochs.ok_or_else(|| bad("no column epoch".to_owned()))?;
        let (train, test, validation) = (column("train_loss")?, column("test_loss")?, losses("validation_loss"));
        history.extend((0..batch.num_rows()).map(|row| EpochRecord {
            epoch: epochs.value(row) as u64,
            train_loss: train.value(row),
            test_loss: test.value(row),
            validation_loss: validation.map(|validation| validation.value(row)),
        }));
    }
    Ok(history)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(losses: &[(f64, Option<f64>)]) -> Vec<EpochRecord> {
        let record =
            |(epoch, &(test_loss, validation_loss))| EpochRecord { epoch, train_loss: 1.0, test_loss, validation_loss };
        (1..).zip(losses).map(record).collect()
    }

    #[test]
    fn a_training_ends_when_its_loss_has_not_fallen_for_long_enough() {
        let falling = history(&[5.0, 4.0, 4.0, 4.5, 3.0, 3.5, 3.2, 3.1].map(|loss| (loss, None)));
        let reached = |epochs, patience| End { epochs, patience }.reached(&falling);
        assert_eq!((reached(100, None), reached(8, None), reached(3, None)), (None, Some(8), Some(3)));
        // An equal loss is no lower one.
        assert_eq!((reached(100, Some(1)), reached(100, Some(2)), reached(100, Some(3))), (Some(3), Some(4), Some(8)));
        assert_eq!((reached(100, Some(4)), reached(2, Some(1)), reached(6, Some(3))), (None, Some(2), Some(6)));
        assert_eq!(End { epochs: 1, patience: Some(1) }.reached(&[]), None);
    }

    #[test]
    fn the_validation_split_chooses_where_there_is_one() {
        let tested = history(&[(3.0, None), (1.0, None), (2.0, None)]);
        let validated = history(&[(3.0, Some(1.0)), (1.0, Some(1.5)), (2.0, Some(1.0))]);
        let epoch = |history: &[EpochRecord]| best(history).map(|record| record.epoch);
        assert_eq!((epoch(&tested), epoch(&validated), epoch(&[])), (Some(2), Some(1), None));
        assert_eq!(End { epochs: 9, patience: Some(2) }.reached(&validated), Some(3));
        assert_eq!(course(&tested, false), None);
        let told = |history: &[EpochRecord], patiently| course(history, patiently).map(|course| course.to_string());
        let expected = "trained for 3 epochs; the lowest test loss is that of epoch 2";
        assert_eq!(told(&tested, true).as_deref(), Some(expected));
        let expected = "trained for 3 epochs; the lowest validation loss is that of epoch 1";
        assert_eq!(told(&validated, false).as_deref(), Some(expected));
    }
}
