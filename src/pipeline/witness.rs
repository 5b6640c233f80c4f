//! Checks, before a result is published, that the inputs of the stage still have the digests of its receipt.
//!
//! The digests were taken before the stage ran. A bit that rots, a file that is edited, and pictures that come or go while the
//! stage reads would otherwise give a wrong result under the right digest. Results of the run are digested again, and so are
//! small sources; of large ones sizes and times are compared, including the inode's change time, which no program can set.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use rayon::prelude::*;

use crate::config::Pipeline;
use crate::error;
use crate::record::digest::{FileStamp, digest, is_unchanged, look, short};
use crate::record::fingerprint::Parts;
use crate::record::workspace::Workspace;
use crate::source::Outside;
use crate::stage::Stage;
use crate::store;

/// Most bytes and files of a source that is digested again, which takes some hundredths of a second.
const CHEAP: (u64, usize) = (16 << 20, 64);

/// The inputs of a stage as they were when it was planned.
pub struct Witness<'a> {
    /// The stage.
    pub stage: &'static dyn Stage,
    /// The settings.
    pub pipeline: &'a Pipeline,
    /// The run directory.
    pub workspace: &'a Workspace,
    /// Everything that its result depends on.
    pub parts: &'a Parts,
    /// The files outside the run that it reads.
    pub files: &'a BTreeMap<String, FileStamp>,
}

impl Witness<'_> {
    /// Checks that the inputs are unchanged.
    ///
    /// # Errors
    /// They have changed: for a source, try again; for a result of this run, an I/O error. Interruption, the file system.
    pub fn check(&self) -> Result<()> {
        for stamp in self.files.values() {
            let path = Path::new(&stamp.path);
            store::of(path).look_again();
        }
        for (setting, files) in self.stage.files(self.pipeline)? {
            let count = if let Outside::Files(_, members) = &files { members.len() } else { 1 };
            let after = look(&files)?;
            let is_cheap = after.bytes <= CHEAP.0 && count <= CHEAP.1;
            let is_same = |before: &FileStamp| is_unchanged(&files, before, &after, is_cheap);
            if !self.files.get(setting).map_or(Ok(false), is_same)? {
                let (what, example) = (&after.path, example(&files));
                let message = format!("{what} ({setting}) has changed while it was read{example}");
                return Err(error::try_again(format!("{message}; run the same command again")));
            }
        }
        let inside =
            self.parts.inputs.iter().filter_map(|(input, digest)| Some((input, input.split_once('/')?.0, digest)));
        inside.collect::<Vec<_>>().into_par_iter().try_for_each(|(input, stage, expected)| {
            let path = self.workspace.input(input);
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

/// Names the file of a folder that changed last.
fn example(files: &Outside) -> String {
    let Outside::Files(root, members) = files else { return String::new() };
    let changed = |member: &String| {
        let path = root.join(member);
        let changed = store::of(&path).stat(&path).ok()?.changed;
        Some((changed, path))
    };
    let last = members.iter().filter_map(changed).max();
    last.map_or(String::new(), |(_, path)| format!(", or files have come or gone; {} changed last", path.display()))
}
