//! The records of a run: the run directory, and for each stage what its result was made from.
//!
//! `workspace` holds the layout of the run directory, `receipt` what a stage did, `fingerprint` what its result depends on,
//! `digest` how changed files are detected, `shards` the parts of a result that are finished before the whole is, and `sealed` a digest for small JSON files. The loop over stages is in `pipeline`.

pub mod digest;
pub mod fingerprint;
pub mod receipt;
pub mod sealed;
mod shards;
mod stage_name;
mod table_set;
pub mod workspace;

pub use crate::store::local::host;
pub use shards::{ShardFolder, ShardReceipt};
pub use stage_name::StageName;
pub use table_set::{ShardFile, TableSet};
