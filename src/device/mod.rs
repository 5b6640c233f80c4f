//! The compute device, by name.
//!
//! Burn's device is a run-time value; only this folder knows which backends a build has. Each backend is a file here and
//! a Cargo feature of the same name, and a build without it has `absent.rs` in its place. A device is opened and tested before it
//! is used: a backend or device that is missing is an error here, and not a panic later.

#[cfg(not(all(feature = "cuda", feature = "tch", feature = "wgpu")))]
mod absent;
mod adapter;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "tch")]
mod libtorch;
mod trial;
#[cfg(feature = "wgpu")]
mod wgpu;

use std::fmt;
use std::str::FromStr;

use anyhow::Result;
use burn::tensor::{Device, FloatDType, Tensor};

#[cfg(not(feature = "cuda"))]
use absent as cuda;
#[cfg(not(feature = "tch"))]
use absent as libtorch;
#[cfg(not(feature = "wgpu"))]
use absent as wgpu;

use crate::error;
pub use trial::attempt;

/// The name of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceName {
    /// Burn's own CPU backend, with limpid's kernels.
    Flex,
    /// LibTorch on the CPU.
    LibTorch,
    /// LibTorch on the NVIDIA GPU of this index.
    LibTorchCuda(usize),
    /// Burn's CUDA backend on the NVIDIA GPU of this index.
    Cuda(usize),
    /// Burn's wgpu backend (Vulkan, Metal, DirectX 12 or OpenGL) on the best adapter.
    Wgpu,
}

/// A device as the user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The best that the build and the machine have.
    Auto,
    /// This one.
    Named(DeviceName),
}

/// Why a device is not available.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// The build lacks the backend.
    Build,
    /// The machine lacks the device, with what was looked for.
    Machine(String),
}

/// A device that was opened and tested.
#[derive(Debug, Clone)]
pub struct ComputeDevice {
    name: DeviceName,
    device: Device,
    /// What the driver calls a GPU, if its backend tells.
    adapter: Option<String>,
}

impl ComputeDevice {
    /// Its name.
    pub fn name(&self) -> DeviceName {
        self.name
    }

    /// Checks that layers can be trained on it with this precision.
    ///
    /// # Errors
    /// They cannot.
    pub fn check(&self, precision: Precision) -> Result<()> {
        let can = match precision {
            Precision::F32 => true,
            // limpid's kernels for flex support 32-bit floats only.
            Precision::Bf16 => self.name != DeviceName::Flex && self.device.supports_dtype(FloatDType::BF16),
        };
        if can {
            return Ok(());
        }
        let advice = "leave it at \"f32\", or choose another --device";
        Err(error::settings(format!("training.precision = \"bf16\" is not for the device {self}; {advice}")))
    }

    /// Its name, with what the driver calls the GPU behind it: `cuda:0 (NVIDIA H100 PCIe)`.
    pub fn described(&self) -> String {
        self.adapter.as_ref().map_or_else(|| self.to_string(), |adapter| format!("{self} ({adapter})"))
    }

    /// What its results depend on besides their inputs: the device and, if it is the CPU, its instruction set.
    pub fn arithmetic(&self) -> String {
        match self.name {
            DeviceName::Flex => format!("{self} with {}", crate::vector::instruction_set()),
            _ => self.to_string(),
        }
    }

    /// The device for applying a model.
    pub fn inference(&self) -> Device {
        self.device.clone()
    }

    /// The device for training a model: it records what the backward pass needs.
    pub fn training(&self) -> Device {
        self.device.clone().autodiff()
    }
}

impl Default for ComputeDevice {
    /// flex, which every build and every machine has.
    fn default() -> Self {
        Self { name: DeviceName::Flex, device: Device::flex(), adapter: None }
    }
}

impl fmt::Display for ComputeDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl DeviceName {
    /// Opens the device; `threads` is the number that it may use if it computes on the CPU.
    ///
    /// # Errors
    /// The build or the machine lacks it.
    pub fn open(self, threads: usize) -> Result<ComputeDevice, Absence> {
        let device = match self {
            DeviceName::Flex => return Ok(ComputeDevice::default()),
            DeviceName::LibTorch => libtorch::open(None, threads),
            DeviceName::LibTorchCuda(index) => libtorch::open(Some(index), threads),
            DeviceName::Cuda(index) => cuda::open(Some(index), threads),
            DeviceName::Wgpu => wgpu::open(None, threads),
        }?;
        trial::computes(&device).map_err(Absence::Machine)?;
        Ok(ComputeDevice { name: self, adapter: adapter::name(&device), device })
    }

    /// The Cargo feature that adds its backend.
    pub fn feature(self) -> &'static str {
        match self {
            DeviceName::Flex => "default",
            DeviceName::LibTorch | DeviceName::LibTorchCuda(_) => "tch",
            DeviceName::Cuda(_) => "cuda",
            DeviceName::Wgpu => "wgpu",
        }
    }

    /// All devices to list: every GPU that a backend of this build sees, or the first one where it sees none.
    pub fn all() -> Vec<Self> {
        let mut names = vec![DeviceName::Flex, DeviceName::LibTorch];
        names.extend((0..libtorch::gpus().max(1)).map(DeviceName::LibTorchCuda));
        names.extend((0..cuda::gpus().max(1)).map(DeviceName::Cuda));
        names.push(DeviceName::Wgpu);
        names
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Flex => f.write_str("flex"),
            DeviceName::LibTorch => f.write_str("tch"),
            DeviceName::LibTorchCuda(index) => write!(f, "tch:cuda:{index}"),
            DeviceName::Cuda(index) => write!(f, "cuda:{index}"),
            DeviceName::Wgpu => f.write_str("wgpu"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device. `tell` is called with a message for each GPU that is there and cannot be used.
    ///
    /// # Errors
    /// The build or the machine lacks it.
    pub fn open(self, threads: usize, tell: impl Fn(&str)) -> Result<ComputeDevice> {
        match self {
            DeviceChoice::Named(name) => name.open(threads).map_err(|absence| error::settings(absence.message(name))),
            // A GPU, with Burn's own backend for it first; else flex, which is faster than LibTorch on the same CPU.
            DeviceChoice::Auto => {
                let mut gpus = Vec::new();
                gpus.extend((cuda::gpus() > 0).then_some(DeviceName::Cuda(0)));
                gpus.extend((libtorch::gpus() > 0).then_some(DeviceName::LibTorchCuda(0)));
                gpus.extend((wgpu::gpus() > 0).then_some(DeviceName::Wgpu));
                let open = |name: DeviceName| {
                    let opened = name.open(threads);
                    opened.inspect_err(|absence| tell(&format!("--device auto: {}", absence.message(name)))).ok()
                };
                Ok(gpus.into_iter().find_map(open).unwrap_or_default())
            }
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let index = |text: &str| {
            text.parse::<u16>().map(usize::from).map_err(|_| format!("{text:?} is not the index of a GPU"))
        };
        Ok(DeviceChoice::Named(match text.split_once(':') {
            None => match text {
                "auto" => return Ok(DeviceChoice::Auto),
                "flex" | "cpu" => DeviceName::Flex,
                "tch" => DeviceName::LibTorch,
                "cuda" => DeviceName::Cuda(0),
                "wgpu" => DeviceName::Wgpu,
                _ => return Err(unknown(text)),
            },
            Some(("cuda", gpu)) => DeviceName::Cuda(index(gpu)?),
            Some(("tch", "cuda")) => DeviceName::LibTorchCuda(0),
            Some(("tch", gpu)) => match gpu.strip_prefix("cuda:") {
                Some(gpu) => DeviceName::LibTorchCuda(index(gpu)?),
                None => return Err(unknown(text)),
            },
            Some(_) => return Err(unknown(text)),
        }))
    }
}

fn unknown(text: &str) -> String {
    format!("there is no device {text:?}; there are flex (also called cpu), tch, tch:cuda:0, cuda:0, wgpu, and auto")
}

impl Absence {
    /// The message about the device of this name.
    pub fn message(&self, name: DeviceName) -> String {
        match self {
            Absence::Build => {
                format!("this build lacks the device {name}; build limpid with --features {}", name.feature())
            }
            Absence::Machine(reason) => format!("this machine lacks the device {name}: {reason}"),
        }
    }
}

/// The numbers of a tensor. This waits for the device, and reports its failures since the last such call.
///
/// # Errors
/// The device has failed: it lacks memory, or cannot hold a layer in one piece.
pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let device = tensor.device();
    let data = if is_flex(&device) {
        Ok(tensor.into_data())
    } else {
        attempt(|| tensor.try_into_data().map_err(|cause| cause.to_string()))
    };
    let data = data.map_err(|cause| {
        let advice = "try a smaller training.batch-size or training.memory-mib, a smaller model, or another --device";
        error::settings(format!("the device fails: {cause}; {advice}"))
    })?;
    data.try_into_vec().map_err(|cause| error::bug(format!("a device computes in other numbers than f32: {cause:?}")))
}

/// Whether a device computes on the calling thread, so that limpid spreads work over threads. Any other has its own
/// parallelism, and takes one caller at a time.
pub fn computes_where_called(device: &Device) -> bool {
    is_flex(device)
}

/// Whether a device is flex, which has limpid's kernels for CPUs.
pub fn is_flex(device: &Device) -> bool {
    *device == Device::flex()
}

/// Most numbers of a model's largest layer that a device other than flex holds at once. It holds several times as many: all
/// layers and their gradients.
pub fn numbers_at_once(device: &Device) -> usize {
    // 64 MiB: some adapters bind no more than 128 at a time. A quarter of a GiB elsewhere.
    if is_wgpu(device) { 16 << 20 } else { 64 << 20 }
}

#[cfg(feature = "wgpu")]
fn is_wgpu(device: &Device) -> bool {
    use burn::backend::{CubeDevice, DispatchDevice};
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Cube(CubeDevice::Wgpu(_)))
}

#[cfg(not(feature = "wgpu"))]
fn is_wgpu(_device: &Device) -> bool {
    false
}

/// Whether a device is one of Burn's own GPU backends, `cuda` and `wgpu`, which are made of CubeCL's kernels.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub fn is_cube(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), burn::backend::DispatchDevice::Cube(_))
}

/// Whether a device is one of Burn's own GPU backends: not in this build.
#[cfg(not(any(feature = "cuda", feature = "wgpu")))]
pub fn is_cube(_device: &Device) -> bool {
    false
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The devices that tests run on: those that `LIMPID_TEST_DEVICES` names, or all that the build and the machine have.
    pub fn devices() -> Vec<ComputeDevice> {
        let Ok(names) = std::env::var("LIMPID_TEST_DEVICES") else {
            return DeviceName::all().into_iter().filter_map(|name| name.open(1).ok()).collect();
        };
        let open = |name: &str| name.parse::<DeviceChoice>().expect("is a device").open(1, |_| {}).expect("is there");
        names.split(',').map(open).collect()
    }

    /// Tolerance against the numbers of flex, relative to the largest of them (docs/devices.md): NVIDIA's GPUs multiply with
    /// 11 significant bits (TF32).
    pub fn tolerance(device: &ComputeDevice) -> f32 {
        match device.name() {
            DeviceName::Flex | DeviceName::LibTorch | DeviceName::Wgpu => 1e-4,
            DeviceName::LibTorchCuda(_) | DeviceName::Cuda(_) => 2e-3,
        }
    }

    /// Relative tolerance of the loss of a few steps against that of flex.
    pub fn course(device: &ComputeDevice) -> f64 {
        5.0 * f64::from(tolerance(device)).max(2e-4)
    }

    /// Relative tolerance of the loss with 16 bits against that with 32: an H100 was 7 % off.
    pub fn half_course(device: &ComputeDevice) -> f64 {
        match device.name() {
            DeviceName::LibTorchCuda(_) | DeviceName::Cuda(_) => 0.1,
            DeviceName::Flex | DeviceName::LibTorch | DeviceName::Wgpu => 0.03,
        }
    }

    #[test]
    fn names_come_back_as_they_are_told() {
        for name in ["flex", "tch", "tch:cuda:0", "tch:cuda:3", "cuda:0", "cuda:12", "wgpu"] {
            let choice = name.parse::<DeviceChoice>().expect("is a device");
            assert!(matches!(choice, DeviceChoice::Named(device) if device.to_string() == name), "{name}: {choice:?}");
        }
        let named = |name: &str| name.parse::<DeviceChoice>();
        assert_eq!(named("cpu"), named("flex"));
        assert_eq!(named("cuda"), named("cuda:0"));
        assert_eq!(named("tch:cuda"), named("tch:cuda:0"));
        assert_eq!(named("auto"), Ok(DeviceChoice::Auto));
        for name in ["gpu", "tch:mps", "cuda:", "cuda:-1", "cuda:x", "cuda:70000", "tch:cuda:", "wgpu:1", ""] {
            assert!(named(name).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_absent_says_what_to_do() {
        for name in DeviceName::all() {
            match name.open(1) {
                Ok(device) => assert_eq!(device.to_string(), name.to_string()),
                Err(Absence::Build) => assert_ne!(name, DeviceName::Flex),
                Err(Absence::Machine(reason)) => assert!(reason.contains("looked for"), "{name}: {reason}"),
            }
        }
        let message = |absence: Absence| absence.message(DeviceName::Cuda(0));
        assert!(message(Absence::Build).ends_with("build limpid with --features cuda"));
        assert!(message(Absence::Machine("x".to_owned())).ends_with("lacks the device cuda:0: x"));
    }

    #[test]
    fn auto_is_always_there() {
        DeviceChoice::Auto.open(1, |_| {}).expect("flex at least");
    }
}
/// How precise the layers are while they train.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// 16-bit floats of 8 significant bits in the layers; weights, losses and Adam's state stay 32-bit floats.
    Bf16,
}
