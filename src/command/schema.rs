//! `limpid schema`

use anyhow::Result;

use super::print::print_own;
use crate::{config, progress};

/// Prints the JSON schema of pipeline files, for editors that complete and check TOML, or that of the log.
pub fn schema(log: bool) -> Result<()> {
    print_own(if log {
        progress::SCHEMA.trim_end().to_owned()
    } else {
        serde_json::to_string_pretty(&config::schema())?
    })
}
