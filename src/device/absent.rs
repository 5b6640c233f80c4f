//! The stub of a backend that the build lacks, with the functions of the backends' files.

use burn::tensor::Device;

use super::Absence;

/// No device.
pub fn open(_gpu: Option<usize>, _threads: usize) -> Result<Device, Absence> {
    Err(Absence::Build)
}

/// No GPUs.
pub fn gpus() -> usize {
    0
}
