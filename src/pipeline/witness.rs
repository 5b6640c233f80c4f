//! What a stage has read, held against what its receipt will say of it.
//!
//! The digests of a receipt were taken before the stage ran. So nothing is published unless everything that was read has them
//! still: a bit that rots, a file that is edited, and pictures that come or go while the stage reads would otherwise give a
//! wrong result under the right digest.

use std::path::PathBuf;

use anyhow::Result;
use rayon::prelude::*;

use super::fingerprint::Parts;
use super::plan::stamps;
use super::receipt::{digest, short};
use super::workspace::Workspace;
use crate::config::Pipeline;
use crate::disk::watch::Watch;
use crate::error;
use crate::stage::Stage;

/// The inputs of a stage before it runs.
pub struct Witness<'a> {
    stage: &'static dyn Stage,
    pipeline: &'a Pipeline,
    workspace: &'a Workspace,
    parts: &'a Parts,
    watch: Watch<'a>,
}

impl<'a> Witness<'a> {
    /// Looks at what `stage` is going to read, for a result of these parts.
    ///
    /// # Errors
    /// A folder that cannot be listed, the file system.
    pub fn new(
        stage: &'static dyn Stage,
        pipeline: &'a Pipeline,
        workspace: &'a Workspace,
        parts: &'a Parts,
    ) -> Result<Self> {
        let watch = Watch::new(|| {
            let paths = stage.files(pipeline)?.into_iter().flat_map(|(_, files)| files.paths());
            Ok(paths.collect())
        });
        Ok(Self { stage, pipeline, workspace, parts, watch: watch? })
    }

    /// Checks that it is still there with the digests of the parts.
    ///
    /// # Errors
    /// It is not: a source that has changed is one to try again with, a result of this run is damaged. Interruption, the file
    /// system.
    pub fn check(&self) -> Result<()> {
        self.watch.check()?;
        for (setting, stamp) in stamps(self.stage, self.pipeline, None)? {
            if self.parts.inputs.get(&setting) != Some(&stamp.digest) {
                let message = format!("{} ({setting}) has changed while it was read", stamp.path);
                return Err(error::try_again(format!("{message}; run the same command again")));
            }
        }
        let inside: Vec<_> =
            self.parts.inputs.iter().filter_map(|input| input.0.split_once('/').zip(Some(input.1))).collect();
        inside.into_par_iter().try_for_each(|((stage, name), expected)| {
            let path: PathBuf = self.workspace.stage(stage).join(name);
            let found = digest(&path)?;
            if found == *expected {
                return Ok(());
            }
            let change = format!("digest {} → {}", short(expected), short(&found));
            let message = format!("{} has changed while it was read: {change}", path.display());
            Err(error::io(format!("{message}; the next run makes {stage} again")))
        })
    }
}
