//! `limpid completions`

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use super::print::print_own;
use crate::cli::Cli;

/// Prints the completions of a shell.
pub fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "limpid", &mut script);
    print_own(String::from_utf8_lossy(&script))
}
