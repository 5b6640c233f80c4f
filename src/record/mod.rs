//! What a run has left behind: the run directory, and in it, for each stage, the record of what its result was made from.
//!
//! `workspace` knows where everything lies, `receipt` what a stage did, `fingerprint` what its result depends on, `digest` how
//! files are told apart, and `sealed` how a small file tells its own damage. The loop that makes results is in `pipeline`.

pub mod digest;
pub mod fingerprint;
pub mod receipt;
pub mod sealed;
mod stage_name;
pub mod workspace;

pub use stage_name::StageName;
