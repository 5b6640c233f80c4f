//! The types of NumPy's numbers, and the pixels that they stand for.

use std::fmt;

use arrow_array::types::{ArrowPrimitiveType, Float16Type};

use crate::image::to_byte;

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
    /// Parses a NumPy type description; little-endian only.
    pub fn parse(description: &str) -> Option<Self> {
        let (order, rest) = description.split_at_checked(1)?;
        let (kind, size) = rest.split_at_checked(1)?;
        let size: usize = size.parse().ok()?;
        let known = matches!((order, size), ("|", 1) | ("<", 1 | 2 | 4 | 8));
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

    /// Converts numbers to pixels: integers from 0 to 255 unchanged, floats from [0, 1], true as 255.
    ///
    /// # Errors
    /// The position and the value of a number outside of its range.
    pub fn pixels(self, numbers: &[u8]) -> Result<Vec<u8>, (usize, f64)> {
        let pixel: &dyn Fn(&[u8]) -> Result<u8, f64> = match self {
            Element::Unsigned(1) => return Ok(numbers.to_vec()),
            Element::Boolean => &|number| Ok(if number == [0] { 0 } else { 255 }),
            Element::Unsigned(_) => {
                &|number| little_endian(number).try_into().map_err(|_| little_endian(number) as f64)
            }
            Element::Signed(_) => &|number| signed(number).try_into().map_err(|_| signed(number) as f64),
            Element::Float(_) => &|number| {
                let value = float(number);
                if (0.0..=1.0).contains(&value) { Ok(to_byte(value as f32)) } else { Err(value) }
            },
        };
        let numbers = numbers.chunks_exact(self.size()).enumerate();
        numbers.map(|(at, number)| pixel(number).map_err(|value| (at, value))).collect()
    }

    /// What the numbers of images must be, for messages.
    pub fn range(self) -> &'static str {
        match self {
            Element::Float(_) => "floats must lie in [0, 1]",
            _ => "integers must lie between 0 and 255",
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
        for other in [">i4", "<U3", "|O", "", "<", "<c8", "|i4", "<u3", "µ"] {
            assert_eq!(Element::parse(other), None, "{other}");
        }
        assert_eq!(Element::Float(4).pixels(&0.5_f32.to_le_bytes()), Ok(vec![128]));
        assert_eq!(Element::parse("|b1").map(|element| element.pixels(&[0, 1, 1])), Some(Ok(vec![0, 255, 255])));
        assert_eq!(Element::Float(8).pixels(&2.0_f64.to_le_bytes()), Err((0, 2.0)));
    }
}
