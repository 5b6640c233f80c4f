//! The adapter behind a device: what its driver calls the GPU.

use burn::tensor::Device;

/// What the driver of one of Burn's own GPU backends calls the GPU.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub fn name(device: &Device) -> Option<String> {
    match device.clone().inner().as_dispatch() {
        burn::backend::DispatchDevice::Cube(device) => Some(device.client().properties().identity.name.clone()),
        _ => None,
    }
}

/// What the driver calls a GPU: there is none in this build.
#[cfg(not(any(feature = "cuda", feature = "wgpu")))]
pub fn name(_device: &Device) -> Option<String> {
    None
}
