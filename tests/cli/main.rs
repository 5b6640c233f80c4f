//! The program as its users meet it.

mod applying;
mod bad_input;
mod disks;
mod download;
mod foreign;
mod harness;
mod memory;
mod mnist;
mod reuse;
mod running;
