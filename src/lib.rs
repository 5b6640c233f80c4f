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
//! [`config`] turns the file into an immutable [`config::Pipeline`]. [`pipeline`] decides for each stage whether its
//! published result is still right, runs it in a scratch folder if not, and puts the folder in place by one rename. A
//! [`stage`] reads tables of earlier stages and writes its own; [`table`] is all that knows Parquet, and [`disk`] all that
//! changes a file or folder. [`model`] and [`training`] are ordinary Burn, [`export`] hands the model and the tables to other
//! programs; the operations that dominate their time on a CPU are in [`kernel`], and [`device`] is all that knows which other
//! devices a build has. Whatever is printed passes [`text`], which keeps a terminal from obeying what others have written.
//!
//! | to add | create | then register in |
//! |---|---|---|
//! | a corruption | `corruption/<name>.rs` | the enum in `corruption/mod.rs` |
//! | an autoencoder | `model/<name>.rs` | the enums in `model/mod.rs` |
//! | a kind of source | `source/<name>.rs` | `open` in `source/mod.rs` |
//! | a stage | `stage/<name>.rs` | the list in `stage/mod.rs` |
//! | a command | `command/<name>.rs` | the enum in `cli.rs` |
//! | a device | `device/<backend>.rs` | `DeviceName` in `device/mod.rs`, a feature in `Cargo.toml` |

pub mod cli;
pub mod command;
pub mod config;
pub mod corruption;
pub mod device;
pub mod disk;
pub mod error;
pub mod export;
pub mod image;
pub mod interrupt;
pub mod kernel;
pub mod lineage;
pub mod model;
pub mod pipeline;
pub mod progress;
pub mod quality;
pub mod random;
pub mod record;
pub mod report;
pub mod setting;
pub mod source;
pub mod stage;
pub mod table;
pub mod terminal;
pub mod text;
pub mod training;
pub mod vector;
