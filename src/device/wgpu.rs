//! Burn's wgpu backend: Vulkan, Metal, DirectX 12 or OpenGL, whichever the machine has.

use std::sync::OnceLock;

use burn::backend::{CubeDevice, DispatchDevice, WgpuDeviceKind};
use burn::tensor::{Device, DeviceType};

use super::Absence;

/// The best adapter, or that which the environment variable `CUBECL_WGPU_DEFAULT_DEVICE` names.
///
/// # Errors
/// There is no adapter, or it cannot be used.
pub fn open(_gpu: Option<usize>, _threads: usize) -> Result<Device, Absence> {
    // wgpu can be initialised once in a process, and only this way reports a failure.
    static OPENED: OnceLock<Result<Device, String>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| Device::wgpu_options().init().map_err(|cause| cause.to_string()));
    opened.clone().map_err(|cause| {
        Absence::Machine(format!(
            "looked for an adapter of Vulkan, Metal, DirectX 12 or OpenGL and its driver: {cause}"
        ))
    })
}

/// Adapters that are GPUs, without CPU implementations.
pub fn gpus() -> usize {
    let is_gpu = |device: &&Device| !matches!(device.as_dispatch(), DispatchDevice::Cube(CubeDevice::Wgpu(wgpu)) if wgpu.kind == WgpuDeviceKind::Cpu);
    Device::enumerate(DeviceType::Wgpu).iter().filter(is_gpu).count()
}
