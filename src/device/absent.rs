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

/// Whether a device is one of Burn's own GPU backends: there is none.
#[cfg(not(any(feature = "cuda", feature = "wgpu")))]
pub fn is_cube(_device: &Device) -> bool {
    false
}

/// What the driver calls a GPU.
#[cfg(not(any(feature = "cuda", feature = "wgpu")))]
pub fn adapter(_device: &Device) -> Option<String> {
    None
}
