//! `limpid export`: tables of a run in another form, and its model as ONNX.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{print, threads};
use crate::cli::ExportArgs;
use crate::disk;
use crate::error;
use crate::export::layout::Layout;
use crate::export::{STAGES, Source, onnx, write_tables};
use crate::interrupt;
use crate::model::{ModelDescription, named_tensors};
use crate::pipeline::workspace::Workspace;
use crate::progress::Progress;
use crate::table::{Split, TableFile, WriteOptions};

/// Writes what is asked for, whole or not at all.
pub fn export(args: &ExportArgs) -> Result<()> {
    interrupt::install()?;
    let workspace = Workspace::existing(&args.run)?;
    let progress = Progress::new(args.work.log);
    let options = WriteOptions { compression_level: 3, threads: threads(&args.work)?, sorted: true, classes: None };
    if let Some(folder) = &args.to {
        let layout = Layout::new(args.profile, args.pixels, args.lists, args.part_rows);
        let tables = tables(&workspace)?;
        publish(folder, |scratch| write_tables(&tables, scratch, &layout, &options, &progress).map(|_| ()))?;
        print(folder.display())?;
    }
    if let Some(file) = &args.onnx {
        let folder = workspace.stage("train");
        let (description, model) = ModelDescription::load(&folder, &args.work.device.inference())?;
        disk::write_atomically(file, &onnx::model(&description, &named_tensors(&model), args.part)?)?;
        print(file.display())?;
    }
    Ok(())
}

/// The tables that a run has.
fn tables(workspace: &Workspace) -> Result<Vec<Source>> {
    let mut tables = Vec::new();
    for stage in STAGES {
        let Some(receipt) = workspace.receipt(stage)? else { continue };
        if let Some(damage) = receipt.damage(&workspace.stage(stage), false)? {
            return Err(error::data(format!("the result of {stage} is damaged: {damage}")));
        }
        for split in Split::ALL {
            let table = TableFile::open(&workspace.stage(stage).join(split.file_name()))?;
            tables.push(Source { stage, split, table });
        }
    }
    if tables.is_empty() {
        return Err(error::settings(format!("{} has no tables yet", workspace.root().display())));
    }
    Ok(tables)
}

/// Has a folder written beside its place and renames it into it.
fn publish(folder: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let taken = std::fs::read_dir(folder).map_or(folder.exists(), |mut entries| entries.next().is_some());
    if taken {
        let advice = "name a folder that does not exist yet";
        return Err(error::settings(format!("{} exists already; {advice}", folder.display())));
    }
    let name = folder.file_name().ok_or_else(|| error::settings(format!("{} has no name", folder.display())))?;
    let scratch: PathBuf = folder.with_file_name(format!(".{}.new", name.to_string_lossy()));
    disk::remove_folder(&scratch)?;
    let published =
        disk::create_folder(&scratch).and_then(|()| write(&scratch)).and_then(|()| disk::rename(&scratch, folder));
    published.inspect_err(|_| _ = disk::remove_folder(&scratch))?;
    disk::sync_folder(folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}
