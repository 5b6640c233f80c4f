//! limpid: images in, compressed features and denoised images out.
//!
//! A pipeline is a TOML file; running it is a walk over [`stage::STAGES`]:
//!
//! ```text
//! source ──▶ ingest ──▶ images ──▶ corrupt ──▶ noisy
//!                         │                      │
//!                         └──────▶ train ◀───────┘
//!                                    │ model
//!                      ┌─────────────┴─────────────┐
//!                      ▼                           ▼
//!                   encode ──▶ features         denoise ──▶ denoised
//!                      │                           │
//!                      └────────▶ evaluate ◀───────┘
//!                                    │ metrics
//!                                    ▼
//!                                  report
//! ```
//!
//! If a pipeline asks for it, a last stage, `export`, copies the tables of images and features into the form that another
//! program likes best.
//!
//! [`image`], [`random`], [`vector`], [`setting`] and [`text`] are what everything stands on. A setting belongs to what it sets
//! (`source/settings.rs`, `model/settings.rs`, …); [`config`] reads TOML, imports those types and turns the file into an
//! immutable [`config::Pipeline`], and only stages, the pipeline and the commands are handed that. [`record`] is what a run leaves:
//! the run directory, receipts, fingerprints, digests. [`pipeline`] decides for each stage whether its published result is still
//! right, runs it in a scratch folder if not, checks that what it has read is unchanged, and puts the folder in place by one
//! rename. A [`stage`] reads tables of earlier stages and writes its own; [`table`] is all that knows Parquet, and [`store`] all
//! that changes a file or folder. [`model`] and [`training`] are ordinary Burn, [`export`] hands the model and the tables to other
//! programs; the operations that dominate their time on a CPU are in [`kernel`], and [`device`] is all that knows which other
//! devices a build has. Whatever is printed passes [`text`], which keeps a terminal from obeying what others have written.
//!
//! `CONTRIBUTING.md` says what to create, and where to register it, to add a stage, a corruption, a source or a model.
//!
//! The binary, its benchmarks and its fuzz targets use this library; nothing of it is supported for others yet.
#![allow(rustdoc::private_intra_doc_links, reason = "this page is for those who work on limpid")]

pub mod command;
pub mod config;
pub mod corruption;
pub mod device;
mod engine;
pub mod error;
mod export;
pub mod image;
mod interrupt;
pub mod kernel;
mod lineage;
pub mod model;
mod ordered;
mod picture;
pub mod pipeline;
pub mod progress;
mod quality;
pub mod random;
pub mod record;
mod report;
mod setting;
pub mod source;
mod stage;
mod store;
pub mod table;
mod terminal;
pub mod text;
pub mod training;
mod vector;
