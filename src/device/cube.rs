//! What Burn's own GPU backends, `cuda` and `wgpu`, have in common: both are made of CubeCL's kernels.

use burn::backend::DispatchDevice;
use burn::tensor::Device;

/// Whether a device is one of theirs.
pub fn is_cube(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Cube(_))
}

/// What the driver calls the GPU.
pub fn adapter(device: &Device) -> Option<String> {
    match device.clone().inner().as_dispatch() {
        DispatchDevice::Cube(device) => Some(device.client().properties().identity.name.clone()),
        _ => None,
    }
}
