//! Scales the columns of a table to [0, 1] and back.
//!
//! A model of rows of numbers takes each column by its name, in its own unit: which of its numbers become 0 and 1 is part of the model,
//! so that other rows are scaled as those that it was trained on.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::image::ImageShape;

/// A column, or a place in the lists of one, and how its numbers are scaled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ScaledColumn {
    /// The name of the column.
    pub column: String,
    /// The place in each of its lists, if it holds lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<usize>,
    /// The number that becomes 0.
    pub zero: f64,
    /// The number that becomes 1; the same as `zero` if the column is constant, and all its numbers become 0.
    pub one: f64,
    /// The number in place of a missing one; none if no number may be missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<f64>,
}

impl ScaledColumn {
    /// The number in [0, 1] that stands for `number`, and whether that lies outside of the range and is clipped.
    pub fn scaled(&self, number: f64) -> (f32, bool) {
        let Self { zero, one, .. } = *self;
        let scaled = if one > zero { (number - zero) / (one - zero) } else { 0.0 };
        (scaled.clamp(0.0, 1.0) as f32, number < zero || number > one)
    }

    /// The number that a scaled one stands for, in the unit of the column.
    pub fn original(&self, scaled: f32) -> f32 {
        (self.zero + f64::from(scaled) * (self.one - self.zero)) as f32
    }
}

impl fmt::Display for ScaledColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some(place) => write!(f, "{}[{place}]", self.column),
            None => f.write_str(&self.column),
        }
    }
}

/// The columns of the rows that a model takes, in the order of its numbers: of one number each, or one of lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ScaledColumn>")]
pub struct Scaler(Vec<ScaledColumn>);

impl Scaler {
    /// The columns.
    pub fn columns(&self) -> &[ScaledColumn] {
        &self.0
    }

    /// The name of the column of lists, if it is one.
    pub fn list(&self) -> Option<&str> {
        self.0.first().filter(|first| first.place.is_some()).map(|first| first.column.as_str())
    }

    /// The shape of a row.
    pub fn shape(&self) -> ImageShape {
        ImageShape { height: 1, width: 1, channels: self.0.len() }
    }

    /// Whether numbers may be missing.
    pub fn fills_gaps(&self) -> bool {
        self.0.iter().any(|column| column.missing.is_some())
    }
}

impl TryFrom<Vec<ScaledColumn>> for Scaler {
    type Error = String;

    /// Columns that are none, that occur twice, that mix lists with numbers, or whose numbers 32-bit floats cannot hold are refused.
    fn try_from(columns: Vec<ScaledColumn>) -> Result<Self, String> {
        if ImageShape::new(1, 1, columns.len()).is_none() {
            return Err(format!("no row has {} columns", columns.len()));
        }
        let mut known = BTreeSet::new();
        for (at, column) in columns.iter().enumerate() {
            let ScaledColumn { column: name, place, zero, one, missing } = column;
            let holds = |number: f64| number.abs() <= f64::from(f32::MAX);
            if !(holds(*zero) && holds(*one) && missing.is_none_or(holds) && zero <= one) {
                let limits = "which must be two numbers that 32-bit floats hold, the first not the larger";
                return Err(format!("the column {column} is scaled from {zero} and {one}, {limits}"));
            }
            let fits = match place {
                Some(place) => *place == at && *name == columns[0].column,
                None => columns[0].place.is_none() && known.insert(name),
            };
            if !fits {
                return Err(format!("the column {column} is out of place"));
            }
        }
        Ok(Self(columns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, zero: f64, one: f64) -> ScaledColumn {
        ScaledColumn { column: name.to_owned(), place: None, zero, one, missing: None }
    }

    #[test]
    fn numbers_come_back_in_their_unit() {
        let mass = column("mass", -20.0, 60.0);
        assert_eq!([-20.0, 60.0, 0.0].map(|number| mass.scaled(number)), [(0.0, false), (1.0, false), (0.25, false)]);
        assert_eq!([-21.0, 1e30].map(|number| mass.scaled(number)), [(0.0, true), (1.0, true)]);
        assert_eq!([0.0, 0.25, 1.0].map(|scaled| mass.original(scaled)), [-20.0, 0.0, 60.0]);
        let constant = column("unit", 3.5, 3.5);
        assert_eq!([3.5, 4.0].map(|number| constant.scaled(number)), [(0.0, false), (0.0, true)]);
        assert_eq!([0.0, 0.7].map(|scaled| constant.original(scaled)), [3.5, 3.5]);
    }

    #[test]
    fn columns_that_cannot_be_a_row_are_refused() {
        let of = |columns: &[ScaledColumn]| Scaler::try_from(columns.to_vec()).map_err(|cause| cause.to_string());
        let in_list = |place| ScaledColumn { place: Some(place), ..column("embedding", 0.0, 1.0) };
        assert!(of(&[column("a", 0.0, 1.0), column("b", 2.0, 2.0)]).is_ok_and(|scaler| scaler.list().is_none()));
        assert!(of(&[in_list(0), in_list(1)]).is_ok_and(|scaler| scaler.list() == Some("embedding")));
        for (columns, cause) in [
            (vec![], "no row has 0 columns"),
            (vec![column("a", 1.0, 0.0)], "the column a is scaled from 1 and 0"),
            (vec![column("a", f64::NAN, 0.0)], "is scaled from NaN"),
            (vec![column("a", 0.0, 1e39)], "32-bit floats hold"),
            (vec![column("a", 0.0, 1.0), column("a", 0.0, 1.0)], "the column a is out of place"),
            (vec![in_list(1)], "embedding[1] is out of place"),
            (vec![in_list(0), column("a", 0.0, 1.0)], "the column a is out of place"),
        ] {
            assert!(of(&columns).expect_err("is refused").contains(cause), "{cause}");
        }
    }
}
