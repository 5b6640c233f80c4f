//! The operations that training spends its time on.
//!
//! Activations are channels-last, `[n, height, width, channels]`, as images are on disk; weights are shaped as PyTorch
//! has them. Nothing outside this folder knows how an operation is computed.

mod plain;

pub use plain::{convolution, cross_entropy, linear, max_pool, squared_error, upsample_convolution};

/// What follows a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Identity,
    /// max(x, 0)
    Relu,
}
