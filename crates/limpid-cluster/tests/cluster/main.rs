//! End-to-end tests of the binary: clusters of processes on loopback.

mod everywhere;
mod failing;
mod ingest;
mod kills;
mod process;

// What limpid's own tests have; not all of it is of use here.
#[allow(dead_code)]
#[path = "../../../../tests/cli/harness.rs"]
mod harness;
#[path = "../../../../tests/cli/random.rs"]
mod random;
#[allow(dead_code)]
#[path = "../../../../tests/cli/store_server.rs"]
mod store_server;

/// The program that is tested.
const PROGRAM: &str = env!("CARGO_BIN_EXE_limpid-cluster");
