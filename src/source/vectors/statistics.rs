//! The range, mean and deviation of each column of the training rows, and the scaling that follows from them.

use super::settings::{Missing, Scale};
use crate::scaler::{ScaledColumn, Scaler};

/// Standard deviations on either side of the mean that [`Scale::Standard`] keeps: beyond are 63 in a million normal numbers.
const DEVIATIONS: f64 = 4.0;

/// What is known of the numbers of a column; sums are in the order of the rows (Welford 1962).
#[derive(Debug, Clone, Copy)]
pub struct Statistic {
    count: u64,
    least: f64,
    greatest: f64,
    mean: f64,
    /// The sum of squared differences from the mean.
    squares: f64,
}

impl Default for Statistic {
    fn default() -> Self {
        Self { count: 0, least: f64::INFINITY, greatest: f64::NEG_INFINITY, mean: 0.0, squares: 0.0 }
    }
}

impl Statistic {
    /// Adds a number, unless it is missing.
    pub fn add(&mut self, number: f64) {
        if number.is_nan() {
            return;
        }
        self.count += 1;
        (self.least, self.greatest) = (self.least.min(number), self.greatest.max(number));
        let before = number - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (number - self.mean);
    }

    /// The numbers that become 0 and 1.
    fn range(&self, scale: Scale) -> [f64; 2] {
        // Of equal numbers, rounding may leave a deviation.
        if scale == Scale::MinMax || self.least == self.greatest {
            return [self.least, self.greatest];
        }
        let reach = DEVIATIONS * (self.squares / self.count as f64).sqrt();
        [self.mean - reach, self.mean + reach]
    }
}

/// The scaling of columns with these names, which are the places of lists if there is only one name.
///
/// # Errors
/// A column without any number, or with numbers that 32-bit floats do not hold; as text.
pub fn scaler(
    statistics: &[Statistic],
    names: &[String],
    is_list: bool,
    scale: Scale,
    missing: Missing,
) -> Result<Scaler, String> {
    let column = |(at, statistic): (usize, &Statistic)| {
        let [zero, one] = statistic.range(scale);
        let (name, place) = if is_list { (&names[0], Some(at)) } else { (&names[at], None) };
        let missing = (missing == Missing::Mean).then_some(statistic.mean);
        let column = ScaledColumn { column: name.clone(), place, zero, one, missing };
        if statistic.count == 0 {
            return Err(format!("the column {column} has no number in any training row; leave it out"));
        }
        Ok(column)
    };
    statistics.iter().enumerate().map(column).collect::<Result<Vec<_>, _>>().and_then(Scaler::try_from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(columns: &[&[f64]], scale: Scale, missing: Missing) -> Result<Scaler, String> {
        let names: Vec<_> = (0..columns.len()).map(|at| format!("x{at}")).collect();
        let statistic = |numbers: &&[f64]| {
            let mut statistic = Statistic::default();
            numbers.iter().for_each(|number| statistic.add(*number));
            statistic
        };
        scaler(&columns.iter().map(statistic).collect::<Vec<_>>(), &names, false, scale, missing)
    }

    #[test]
    fn columns_are_scaled_by_their_range_or_deviation() {
        let columns: &[&[f64]] = &[&[1.0, f64::NAN, 3.0, 5.0, 3.0], &[7.1; 5]];
        let found = of(columns, Scale::MinMax, Missing::Error).expect("has numbers");
        assert_eq!((found.columns()[0].zero, found.columns()[0].one, found.columns()[0].missing), (1.0, 5.0, None));
        assert_eq!((found.columns()[1].zero, found.columns()[1].one), (7.1, 7.1));
        let found = of(columns, Scale::Standard, Missing::Mean).expect("has numbers");
        let reach = 4.0 * 2.0_f64.sqrt();
        assert!((found.columns()[0].zero - (3.0 - reach)).abs() < 1e-12, "{found:?}");
        assert!((found.columns()[0].one - (3.0 + reach)).abs() < 1e-12, "{found:?}");
        assert_eq!(found.columns()[0].missing, Some(3.0));
        assert_eq!((found.columns()[1].zero, found.columns()[1].one), (7.1, 7.1));
        let refused = |columns: &[&[f64]]| of(columns, Scale::MinMax, Missing::Error).expect_err("is refused");
        assert!(refused(&[&[1.0], &[f64::NAN]]).starts_with("the column x1 has no number in any training row"));
        assert!(refused(&[&[0.0, 1e300]]).contains("32-bit floats"));
    }
}
