//! The numbers of a source that stand for black and for white.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The numbers that stand for black and for white, as they are written in settings and stored with a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Levels {
    /// Black and white, between which all numbers lie.
    Between([f64; 2]),
    /// Black and white; numbers beyond become these.
    #[serde(rename_all = "kebab-case")]
    Clip {
        /// The two.
        clip: [f64; 2],
    },
    /// Those below which these shares of the training images' numbers are, in percent; to be measured. Until then a pixel is the number.
    #[serde(rename_all = "kebab-case")]
    Percentile {
        /// The two.
        percentile: [f64; 2],
    },
}

impl Levels {
    /// The pixel in [0, 1] that a number stands for.
    ///
    /// # Errors
    /// A number outside of the levels, unless these clip it, or one that is not finite, as text.
    pub fn pixel(self, number: f64) -> Result<f32, String> {
        let ([black, white], clips) = match self {
            Self::Between(levels) => (levels, false),
            Self::Clip { clip } => (clip, number.is_finite()),
            Self::Percentile { .. } if number.is_finite() => return Ok(number as f32),
            Self::Percentile { .. } => return Err(format!("it holds {number}, which is no brightness")),
        };
        let pixel = (number - black) / (white - black);
        if clips || (0.0..=1.0).contains(&pixel) {
            return Ok(pixel.clamp(0.0, 1.0) as f32);
        }
        Err(format!("it holds {number}; `levels` says that numbers lie in [{black}, {white}]"))
    }

    /// The number that stands for a pixel.
    pub fn number(self, pixel: f32) -> f64 {
        let [black, white] = self.numbers().unwrap_or([0.0, 1.0]);
        black + f64::from(pixel) * (white - black)
    }

    /// Black and white, unless they are to be measured.
    pub fn numbers(self) -> Option<[f64; 2]> {
        match self {
            Self::Between(levels) | Self::Clip { clip: levels } => Some(levels),
            Self::Percentile { .. } => None,
        }
    }

    /// The shares that are to be measured, in percent.
    pub fn percentile(self) -> Option<[f64; 2]> {
        match self {
            Self::Percentile { percentile } => Some(percentile),
            _ => None,
        }
    }

    /// Whether the two numbers can be what they stand for: finite, the first the smaller, and shares between 0 and 100.
    pub fn are_possible(self) -> bool {
        match self {
            Self::Between([black, white]) | Self::Clip { clip: [black, white] } => {
                black < white && (white - black).is_normal()
            }
            Self::Percentile { percentile: [low, high] } => 0.0 <= low && low < high && high <= 100.0,
        }
    }
}

/// [`Levels`] as they are written: two numbers, or a table with one of the two.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum RawLevels {
    /// Black and white.
    Between([f64; 2]),
    /// What a table says.
    Table {
        /// Black and white, beyond which numbers are clipped.
        clip: Option<[f64; 2]>,
        /// Shares in percent.
        percentile: Option<[f64; 2]>,
    },
}

impl JsonSchema for RawLevels {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Levels".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let two = |what: &str| {
            json_schema!({
                "description": what, "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2,
            })
        };
        json_schema!({
            "anyOf": [
                two("Black and white, between which all numbers lie."),
                {
                    "type": "object",
                    "properties": {
                        "clip": two("Black and white; numbers beyond become these."),
                        "percentile": two("The shares of the training images' numbers that are below black and white, in percent."),
                    },
                    "additionalProperties": false,
                },
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_are_refused_or_clipped() {
        let between = Levels::Between([100.0, 300.0]);
        assert_eq!((between.pixel(150.0), between.number(0.25)), (Ok(0.25), 150.0));
        let cause = between.pixel(301.0).expect_err("is brighter");
        assert_eq!(cause, "it holds 301; `levels` says that numbers lie in [100, 300]");
        let clip = Levels::Clip { clip: [100.0, 300.0] };
        assert_eq!([0.0, 150.0, 1e9].map(|number| clip.pixel(number)), [Ok(0.0), Ok(0.25), Ok(1.0)]);
        let raw = Levels::Percentile { percentile: [1.0, 99.0] };
        assert_eq!(raw.pixel(4095.0), Ok(4095.0));
        for levels in [between, clip, raw] {
            assert!(levels.pixel(f64::NAN).is_err() && levels.are_possible());
            let text = serde_json::to_string(&levels).expect("is JSON");
            assert_eq!(serde_json::from_str::<Levels>(&text).expect("is read"), levels, "{text}");
        }
        assert!(!Levels::Clip { clip: [3.0, 3.0] }.are_possible());
        assert!(!Levels::Percentile { percentile: [1.0, 101.0] }.are_possible());
    }
}
