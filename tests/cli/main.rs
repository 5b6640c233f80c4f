//! The program as its users meet it.

mod applying;
mod bad_input;
mod crash;
mod damage;
mod disks;
mod download;
mod elsewhere;
mod evaluating;
mod exporting;
mod foreign;
mod harness;
mod lineage;
mod log;
mod memory;
mod mnist;
mod models;
mod output;
mod own_arrays;
mod own_images;
mod own_tables;
mod resuming;
mod reuse;
mod rivals;
mod running;
mod soak;
mod steps;
