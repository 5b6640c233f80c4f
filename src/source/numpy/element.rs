//! The types of NumPy's numbers, and the pixels that they stand for.

use std::fmt;

use arrow_array::types::{ArrowPrimitiveType, Float16Type};

use crate::image::{Levels, Samples};

/// Half precision, as Arrow has it.
type Half = <Float16Type as ArrowPrimitiveType>::Native;

/// The type of an array's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Unsigned integers of this many bytes.
    Unsigned(usize),
    /// Signed integers.
    Signed(usize),
    /// Floats.
    Float(usize),
    /// Booleans of one byte.
    Boolean,
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, size) = match self {
            Element::Boolean => return f.write_str("bool"),
            Element::Unsigned(size) => ("uint", size),
            Element::Signed(size) => ("int", size),
            Element::Float(size) => ("float", size),
        };
        write!(f, "{kind}{}", 8 * size)
    }
}

impl Element {
    /// Parses a NumPy type description; numbers may be little-endian or, with `>`, big-endian.
    pub fn parse(description: &str) -> Option<Self> {
        let (order, rest) = description.split_at_checked(1)?;
        let (kind, size) = rest.split_at_checked(1)?;
        let size: usize = size.parse().ok()?;
        let known = matches!((order, size), ("|", 1) | ("<" | ">", 1 | 2 | 4 | 8));
        match kind {
            "u" if known => Some(Element::Unsigned(size)),
            "i" if known => Some(Element::Signed(size)),
            "b" if known && size == 1 => Some(Element::Boolean),
            "f" if known && size >= 2 => Some(Element::Float(size)),
            _ => None,
        }
    }

    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            Element::Unsigned(size) | Element::Signed(size) | Element::Float(size) => size,
            Element::Boolean => 1,
        }
    }

    /// Converts numbers to pixels: by `levels`, if given; else integers from 0 to 255 and floats from [0, 1] unchanged, true as 255.
    ///
    /// # Errors
    /// The position of a number outside of its range, and what is wrong with it.
    pub fn pixels(self, numbers: &[u8], levels: Option<Levels>) -> Result<Samples, (usize, String)> {
        if self == Element::Unsigned(1) && levels.is_none() {
            return Ok(Samples::Bytes(numbers.to_vec()));
        }
        let numbers = || numbers.chunks_exact(self.size()).enumerate();
        if levels.is_some() || matches!(self, Element::Float(_)) {
            let pixel = |number: f64| match levels {
                Some(levels) => levels.pixel(number),
                None if (0.0..=1.0).contains(&number) => Ok(number as f32),
                None => {
                    Err(format!("it holds {number}; floats must lie in [0, 1], unless `levels` says another range"))
                }
            };
            let floats = numbers().map(|(at, number)| pixel(self.number(number)).map_err(|cause| (at, cause)));
            return floats.collect::<Result<Vec<f32>, _>>().map(Samples::Floats);
        }
        let byte = |number: &[u8]| match self {
            Element::Boolean => Ok(if number == [0] { 0 } else { 255 }),
            _ => {
                let value = self.number(number);
                let byte = value as u8;
                let advice = "unless `levels` says another range, as levels = [0, 65535]";
                (f64::from(byte) == value)
                    .then_some(byte)
                    .ok_or_else(|| format!("it holds {value}; integers must lie between 0 and 255, {advice}"))
            }
        };
        let bytes = numbers().map(|(at, number)| byte(number).map_err(|cause| (at, cause)));
        bytes.collect::<Result<Vec<u8>, _>>().map(Samples::Bytes)
    }

    /// A number; those beyond 2^53 are rounded.
    pub fn number(self, bytes: &[u8]) -> f64 {
        match self {
            Element::Unsigned(_) | Element::Boolean => little_endian(bytes) as f64,
            Element::Signed(_) => signed(bytes) as f64,
            Element::Float(_) => float(bytes),
        }
    }
}

/// The unsigned integer of these bytes.
pub fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// The signed integer of these bytes.
pub fn signed(bytes: &[u8]) -> i64 {
    let shift = 64 - 8 * bytes.len() as u32;
    (little_endian(bytes) as i64) << shift >> shift
}

/// The float of these bytes.
pub fn float(bytes: &[u8]) -> f64 {
    match bytes {
        &[a, b] => Half::from_le_bytes([a, b]).to_f64(),
        &[a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
        bytes => f64::from_bits(little_endian(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_apart() {
        assert_eq!(Element::parse("|u1"), Some(Element::Unsigned(1)));
        assert_eq!(Element::parse("<i8"), Some(Element::Signed(8)));
        assert_eq!(Element::parse("<f4"), Some(Element::Float(4)));
        assert_eq!(Element::parse(">i4"), Some(Element::Signed(4)));
        for other in ["<U3", "|O", "", "<", "<c8", "|i4", "<u3", "µ"] {
            assert_eq!(Element::parse(other), None, "{other}");
        }
        assert_eq!(Element::Float(4).pixels(&0.3_f32.to_le_bytes(), None), Ok(vec![0.3_f32].into()));
        assert_eq!(Element::Boolean.pixels(&[0, 1, 1], None), Ok(vec![0_u8, 255, 255].into()));
        assert_eq!(Element::Float(8).pixels(&2.0_f64.to_le_bytes(), None).map_err(|(at, _)| at), Err(0));
    }

    #[test]
    fn levels_say_what_is_black_and_white() {
        let words: Vec<u8> = [0_u16, 4095, 819].into_iter().flat_map(u16::to_le_bytes).collect();
        let levels = Some(Levels::Between([0.0, 4095.0]));
        assert_eq!(Element::Unsigned(2).pixels(&words, levels), Ok(vec![0.0_f32, 1.0, 0.2].into()));
        let (at, cause) = Element::Unsigned(2).pixels(&words, None).expect_err("no byte");
        assert!(at == 1 && cause.starts_with("it holds 4095; integers must lie between 0 and 255"), "{cause}");
        let (at, cause) =
            Element::Unsigned(2).pixels(&words, Some(Levels::Between([1.0, 4095.0]))).expect_err("is darker");
        assert_eq!((at, cause.as_str()), (0, "it holds 0; `levels` says that numbers lie in [1, 4095]"));
    }
}
