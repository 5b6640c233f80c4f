//! Turns panics of a backend into errors.
//!
//! A backend may see a device and yet fail on it, for lack of a compiler, a library of the right version, or memory; Burn
//! then panics.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Mutex, PoisonError};

use burn::tensor::{Device, Tensor};

use crate::device::is_flex;

/// Tests a device before it is used: multiplies two matrices, and takes logarithms and exponentials of the product, which come
/// from other libraries than products do.
///
/// # Errors
/// Why that fails, or that the result is wrong.
pub fn computes(device: &Device) -> Result<(), String> {
    if is_flex(device) {
        return Ok(());
    }
    let result = attempt(|| {
        let matrix = Tensor::<2>::from_data([[1.0_f32, 2.0], [3.0, 4.0]], device);
        let product = matrix.clone().matmul(matrix);
        product.log().exp().try_into_data().map_err(|cause| cause.to_string())
    });
    let looked = "looked for a device that multiplies two matrices and takes logarithms, and";
    let is_right = |found: &[f32]| {
        found.len() == 4 && found.iter().zip([7.0, 10.0, 15.0, 22.0]).all(|(a, b)| (a / b - 1.0).abs() < 1e-2)
    };
    match result.map(|result| result.try_into_vec::<f32>()) {
        Ok(Ok(found)) if is_right(&found) => Ok(()),
        Ok(found) => Err(format!("{looked} what this one gives is wrong: {found:?}")),
        Err(cause) => Err(format!("{looked} this one fails: {cause}")),
    }
}

/// Runs `work` and returns its panics as errors. Panics of other threads meanwhile are not printed.
///
/// # Errors
/// The work's error or the message of its panic; of a chain of causes the innermost.
pub fn attempt<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // Panic hooks belong to the process: two exchanges at the same time might restore the wrong one.
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let done = catch_unwind(AssertUnwindSafe(work));
    set_hook(hook);
    drop(turn);
    let done = done.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(text.unwrap_or_else(|| "it panics".to_owned()))
    });
    done.map_err(|text| innermost(&text))
}

/// The innermost cause of a chain as CubeCL formats it, without the lines about its origin.
fn innermost(text: &str) -> String {
    let origin = |line: &&str| !matches!(line.trim(), "" | "Asked at:" | "No backtrace available");
    let cause = text.rsplit("Caused by:").next().unwrap_or(text);
    let lines: Vec<_> = cause.lines().filter(origin).map(str::trim).collect();
    if lines.is_empty() { text.to_owned() } else { lines.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_reason() {
        assert_eq!(attempt(|| Ok(1)), Ok(1));
        assert_eq!(attempt(|| Err::<(), _>("no".to_owned())), Err("no".to_owned()));
        assert_eq!(attempt::<()>(|| panic!("out of memory")), Err("out of memory".to_owned()));
        let chain =
            "Several failures\nCaused by:\n  it cannot\nCaused by:\n  no memory\nNo backtrace available\nAsked at:\n";
        assert_eq!(attempt::<()>(|| Err(chain.to_owned())), Err("no memory".to_owned()));
        let size = 3;
        assert_eq!(attempt::<()>(|| panic!("{size} bytes")), Err("3 bytes".to_owned()));
    }
}
