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
//! The last stage, `export`, is optional: it copies the tables of images and features into the layout that another program
//! reads best.
//!
//! All modules may use [`image`], [`random`], [`scaler`], [`vector`], [`setting`] and [`text`]. A setting is declared in the module that
//! uses it (`source/settings.rs`, `model/settings.rs`, …); [`config`] imports those types, reads TOML and resolves the file to
//! an immutable [`config::Pipeline`], which only stages, the pipeline and the commands receive. [`record`] defines what a run
//! leaves on disk: the run directory, receipts, fingerprints, digests. [`pipeline`] checks for each stage whether its published
//! result is up to date, runs it in a scratch folder if not, checks that its inputs have not changed meanwhile, and publishes
//! the folder by one rename. A [`stage`] reads tables of earlier stages and writes its own. Only [`table`] knows Parquet, and
//! only [`store`] changes files and folders. [`model`] and [`training`] use Burn; the operations that dominate their time on a
//! CPU are in [`kernel`], and only [`device`] knows which other devices a build has. [`export`] converts the model and the
//! tables for other programs. All printed text passes [`text`], which escapes the control characters of names and data.
//!
//! `CONTRIBUTING.md` says what to create, and where to register it, to add a stage, a corruption, a source or a model.
//!
//! The binary, its benchmarks and its fuzz targets use this library, and so do the Python module in `crates/limpid-python`, which calls
//! [`command::library`], and `crates/limpid-cluster`, which has an engine for [`shards`]; nothing of it is supported for others yet.
#![allow(rustdoc::private_intra_doc_links, reason = "this page is for those who work on limpid")]

pub mod command;
pub mod config;
pub mod corruption;
pub mod device;
mod engine;
pub mod error;
mod export;
pub mod image;
pub mod interrupt;
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
mod scaler;
mod setting;
pub mod source;
mod stage;
pub use stage::shards;
mod store;
pub mod table;
mod terminal;
pub mod text;
pub mod training;
mod vector;
