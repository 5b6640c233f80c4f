//! `limpid schema`

use anyhow::Result;

use super::print;
use crate::config;

/// Prints the JSON schema of pipeline files, for editors that complete and check TOML.
pub fn schema() -> Result<()> {
    print(serde_json::to_string_pretty(&config::schema())?)
}
