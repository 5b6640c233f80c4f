//! Labels that are text: numbers, or the names of classes.

use std::collections::BTreeSet;

/// What the texts of labels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// All are whole numbers, maybe with gaps: see [`integer`].
    Integers,
    /// Names.
    Names,
}

impl Texts {
    /// What these texts are. One with a leading zero, as `007`, makes all of them names: as numbers, it would be the same as 7.
    pub fn of(texts: &BTreeSet<&str>) -> Self {
        let all = texts.iter().all(|text| integer(text).is_some() || is_gap(text));
        if all && texts.iter().any(|text| !is_gap(text)) { Texts::Integers } else { Texts::Names }
    }
}

/// The whole number of a text without needless digits, also as pandas writes a column of numbers with gaps: `3.0`.
pub fn integer(text: &str) -> Option<i64> {
    let digits = match text.split_once('.') {
        Some((digits, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => digits,
        Some(_) => return None,
        None => text,
    };
    let number: i64 = digits.parse().ok()?;
    (number.to_string() == digits).then_some(number)
}

/// Whether a text stands for no number in a column of numbers.
fn is_gap(text: &str) -> bool {
    text.is_empty() || text.eq_ignore_ascii_case("nan")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_names_that_look_like_them() {
        let of = |texts: &[&str]| Texts::of(&texts.iter().copied().collect());
        assert_eq!(of(&["3", "-7", "10"]), Texts::Integers);
        assert_eq!(of(&["3.0", "7.00", "10", "NaN"]), Texts::Integers);
        for names in
            [&["007", "7"][..], &["1", "two"], &["1.5", "2"], &["nan"], &["+1", "2"], &["1.", "2"], &["-0", "1"], &[]]
        {
            assert_eq!(of(names), Texts::Names, "{names:?}");
        }
        assert_eq!(
            ["3.0", "3", "007", "1e3", "9223372036854775808"].map(integer),
            [Some(3), Some(3), None, None, None]
        );
    }
}
