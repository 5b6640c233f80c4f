//! The compute device, by name.
//!
//! Burn's device is a run-time value, so this file is all that knows which backends a build has.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;

/// A device that models can be trained and applied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ComputeDevice {
    /// Burn's own CPU backend.
    #[default]
    Flex,
}

impl ComputeDevice {
    /// The device for applying a model.
    pub fn inference(self) -> Device {
        match self {
            ComputeDevice::Flex => Device::flex(),
        }
    }

    /// The device for training one: it records what the backward pass needs.
    pub fn training(self) -> Device {
        self.inference().autodiff()
    }
}

impl fmt::Display for ComputeDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ComputeDevice::Flex => "flex",
        })
    }
}

impl FromStr for ComputeDevice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "auto" | "cpu" | "flex" => Ok(ComputeDevice::Flex),
            other => Err(format!("this build has no device {other:?}; it has flex (also called cpu, or auto)")),
        }
    }
}
