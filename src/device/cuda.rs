//! Burn's CUDA backend. Its kernels are compiled at run time by an LLVM that is linked in, so that it needs only the NVIDIA
//! driver and one file of the CUDA toolkit, `nvvm/libdevice/libdevice.10.bc`, which has functions such as the logarithm.

use burn::tensor::{Device, DeviceType};

use super::Absence;

/// The GPU of this index, the first one unless given.
///
/// # Errors
/// There is no driver, or no such GPU.
pub fn open(gpu: Option<usize>, _threads: usize) -> Result<Device, Absence> {
    let (index, seen) = (gpu.unwrap_or(0), gpus());
    if index >= seen {
        let seen = if seen == 0 { "none was found".to_owned() } else { format!("there are {seen}, counted from 0") };
        return Err(Absence::Machine(format!(
            "looked for libcuda.so, which comes with the NVIDIA driver, and a GPU {index} behind it; {seen}"
        )));
    }
    Ok(Device::cuda(index))
}

/// GPUs that the driver names; none without a driver.
pub fn gpus() -> usize {
    Device::enumerate(DeviceType::Cuda).len()
}
