//! LibTorch, through burn-tch, which Burn has deprecated. Only the devices `tch` and `tch:cuda:N` depend on this file and the
//! feature `tch`.

use burn::tensor::{Device, DeviceType};

use super::Absence;

/// The GPU of this index, or the CPU with so many threads.
///
/// # Errors
/// LibTorch has no CUDA, or there is no such GPU.
#[expect(deprecated, reason = "burn-tch is kept as long as Burn has it")]
pub fn open(gpu: Option<usize>, threads: usize) -> Result<Device, Absence> {
    // LibTorch uses all cores by default. The number can be set once, before its first operation.
    static THREADS: std::sync::Once = std::sync::Once::new();
    THREADS.call_once(|| tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX)));
    let Some(index) = gpu else { return Ok(Device::libtorch()) };
    let seen = gpus();
    if index >= seen {
        let seen = if seen == 0 { "none".to_owned() } else { format!("{seen}") };
        return Err(Absence::Machine(format!(
            "looked for a GPU {index} that LibTorch can use, which takes a LibTorch with CUDA and an NVIDIA driver; it sees {seen}"
        )));
    }
    Ok(Device::libtorch_cuda(index))
}

/// GPUs that LibTorch sees.
pub fn gpus() -> usize {
    Device::enumerate(DeviceType::LibTorch).len()
}
