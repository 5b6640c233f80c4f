//! `limpid completions`: prints completions for a shell.

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::print::print_own;
use super::{Cli, Execute};

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

impl Execute for CompletionsArgs {
    /// Prints the completions of a shell.
    fn execute(&self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "limpid", &mut script);
        print_own(String::from_utf8_lossy(&script))
    }
}
