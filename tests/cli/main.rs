//! The program as its users meet it.

mod applying;
mod bad_input;
mod disks;
mod download;
mod harness;
mod mnist;
mod reuse;
mod running;
