//! Strengths of corruptions: a number, or a range of which every image draws its own, so that a model learns to remove noise of any
//! strength in it (blind noise: Zhang et al. 2017, "Beyond a Gaussian denoiser").
//!
//! The draw has random numbers of its own, so that those of the pixels are the same with a range and without.

use std::borrow::Cow;
use std::fmt::Display;
use std::marker::PhantomData;

use burn::tensor::Tensor;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::on_device::Numbers;
use crate::random::Generator;
use crate::setting::Section;

/// What the numbers of the draw are for.
pub const PURPOSE: &str = "strength";

/// A strength, as it is written and as it is used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Strength<T = f64> {
    /// That of all images.
    Same(T),
    /// The lowest and the highest, between which each image draws its own, uniformly.
    Drawn([T; 2]),
}

impl<T: PartialOrd + Display> Strength<T> {
    /// The strength, with a problem of the setting `key` if its range is empty.
    pub fn checked(self, key: &str, section: &mut Section<'_>) -> Self {
        if let Self::Drawn([least, most]) = &self
            && least > most
        {
            section.add(key, format!("is a range from {least} down to {most}: write the lower number first"));
        }
        self
    }
}

impl Strength {
    /// That of the image of this generator, of which it takes no number.
    pub fn of(self, generator: &Generator) -> f32 {
        match self {
            Self::Same(strength) => strength as f32,
            Self::Drawn([least, most]) => {
                let (least, most) = (least as f32, most as f32);
                least + (most - least) * generator.apart(PURPOSE).uniform()
            }
        }
    }

    /// Those of the images of a batch on their device.
    pub fn on_device(self, numbers: &Numbers<'_>) -> Strengths {
        match self {
            Self::Same(strength) => Strengths::Same(strength as f32),
            Self::Drawn([least, most]) => {
                let (least, most) = (least as f32, most as f32);
                Strengths::Drawn(Box::new(numbers.one_each(PURPOSE) * (most - least) + least))
            }
        }
    }
}

/// The strengths of the images of a batch.
pub enum Strengths {
    /// One for all.
    Same(f32),
    /// One each, `[n, 1]`.
    Drawn(Box<Tensor<2>>),
}

impl Strengths {
    /// Each image times its strength.
    pub fn times(&self, images: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Same(strength) => images * *strength,
            Self::Drawn(strengths) => images * *strengths.clone(),
        }
    }

    /// Each image divided by its strength.
    pub fn divide(&self, images: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Same(strength) => images / *strength,
            Self::Drawn(strengths) => images / *strengths.clone(),
        }
    }
}

/// The numbers that a strength may be.
pub trait Limits {
    /// Their type in the schema.
    const KIND: &'static str;
    /// The lowest.
    const LEAST: f64;
    /// The highest.
    const MOST: f64;
}

/// Stands for a [`Strength`] within these limits in the schema.
pub struct Limited<L>(PhantomData<L>);

impl<L: Limits> JsonSchema for Limited<L> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Strength".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({ "type": L::KIND, "minimum": L::LEAST, "maximum": L::MOST });
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 2, "maxItems": 2 }] })
    }
}
