//! Scores of each column of a table of numbers, in its unit: which of them a model gives back well.

use anyhow::Result;

use super::baselines::{Pairs, different};
use crate::quality::metrics::ColumnScore;
use crate::scaler::Scaler;
use crate::table::{Images, Table, ids};

/// The scores of the columns of the rows that a model made of the test split.
///
/// # Errors
/// Tables that are damaged or do not hold the same rows, interruption.
pub fn score(test: &Pairs<'_>, made: &Table, columns: &Scaler) -> Result<Vec<ColumnScore>> {
    let (extent, width) = (test.clean.extent()?, columns.columns().len());
    // Of each column: the squared errors, the numbers and their squares, summed up in the order of the rows.
    let (mut sums, mut rows, mut reader) = (vec![[0.0_f64; 3]; width], 0, made.all());
    test.each(test.clean.rows(), |pairs| {
        let batch = reader.next().transpose()?.ok_or_else(|| different(test.clean, made))?;
        if ids(&batch)?.values() != pairs.ids {
            return Err(different(test.clean, made));
        }
        let numbers = Images::of(&batch, extent)?.numbers();
        for (made, clean) in numbers.chunks_exact(width).zip(pairs.clean.chunks_exact(width)) {
            for ((sums, made), clean) in sums.iter_mut().zip(made).zip(clean) {
                let [made, clean] = [made, clean].map(|number| f64::from(*number));
                let of_row = [(made - clean).powi(2), clean, clean.powi(2)];
                sums.iter_mut().zip(of_row).for_each(|(sum, number)| *sum += number);
            }
        }
        rows += pairs.ids.len();
        Ok(())
    })?;
    let rows = rows as f64;
    let score = |(column, [squared, sum, squares]): (&crate::scaler::ScaledColumn, [f64; 3])| {
        let variance = squares / rows - (sum / rows).powi(2);
        ColumnScore {
            column: column.to_string(),
            rmse: (squared / rows).sqrt() * (column.one - column.zero),
            // Of equal numbers, rounding may leave a variance.
            r2: (variance > 1e-12).then(|| 1.0 - squared / rows / variance),
        }
    };
    Ok(columns.columns().iter().zip(sums).map(score).collect())
}
