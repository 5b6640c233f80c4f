//! A first small computation on a device, before anything depends on it.
//!
//! A backend may see a device and yet fail on it, for want of a compiler or a library of the right version, and Burn then
//! panics. Here such a panic becomes a reason.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use burn::tensor::{Device, Tensor};

use crate::device::is_flex;

/// Multiplies two matrices on the device.
///
/// # Errors
/// Why that fails, or that the product is wrong.
pub fn computes(device: &Device) -> Result<(), String> {
    if is_flex(device) {
        return Ok(());
    }
    // Nothing else runs yet whose panic could go untold.
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let product = catch_unwind(AssertUnwindSafe(|| {
        let matrix = Tensor::<2>::from_data([[1.0_f32, 2.0], [3.0, 4.0]], device);
        matrix.clone().matmul(matrix).try_into_data()
    }));
    set_hook(hook);
    let looked = "looked for a device that multiplies two matrices, and";
    match product {
        Ok(Ok(product)) => match product.try_into_vec::<f32>() {
            Ok(product) if product == [7.0, 10.0, 15.0, 22.0] => Ok(()),
            product => Err(format!("{looked} this one gives a wrong product: {product:?}")),
        },
        Ok(Err(cause)) => Err(format!("{looked} this one fails: {cause}")),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(format!("{looked} this one fails: {}", text.unwrap_or_else(|| "it panics".to_owned())))
        }
    }
}
