//! A file of lines that several processes append to.
//!
//! It hides what a full disk or a kill leaves: half a line stays where it is, and the next line begins anew.

use std::cell::Cell;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failpoint::reach;
use super::local::write_in_steps;

/// A file that lines are appended to, by several processes if need be. It is never cut: what is half written stays, on a line of
/// its own.
pub struct LineFile {
    file: File,
    path: PathBuf,
    /// The same file, to look at its end; none of what has none, a pipe say, or may not be read.
    end: Option<File>,
    /// Whether the last line was written in part, for want of a look.
    broken: Cell<bool>,
}

impl LineFile {
    /// Opens a file, and makes it if it is not there.
    ///
    /// # Errors
    /// The file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        reach("open", &[path])?;
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let end = if file.metadata()?.is_file() { File::open(path).ok() } else { None };
        Ok(Self { file, path: path.to_owned(), end, broken: Cell::new(false) })
    }

    /// Appends a line, in one call, so that the lines of several processes stay whole.
    ///
    /// # Errors
    /// The file system; a part of the line may be there then.
    pub fn append(&self, line: &str) -> io::Result<()> {
        self.wait_for_turn();
        let before = if self.ends_within_a_line() { "\n" } else { "" };
        let bytes = format!("{before}{line}\n").into_bytes();
        let mut written = 0;
        let done = loop {
            match write_in_steps(&self.file, &self.path, &bytes[written..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(more) => written += more,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(cause) => break Err(cause),
            }
            if written == bytes.len() {
                break Ok(());
            }
        };
        self.broken.set(done.is_err());
        _ = self.file.unlock();
        done
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file ends in the middle of a line, which this or another process could not write to its end.
    fn ends_within_a_line(&self) -> bool {
        let Some(mut end) = self.end.as_ref() else { return self.broken.get() };
        let mut last = [0];
        // An empty file has no last byte to go to.
        let seen = end.seek(SeekFrom::End(-1)).and_then(|_| end.read_exact(&mut last));
        seen.is_ok() && last != *b"\n"
    }

    /// Locks the file, so that nobody writes between the look at its end and the line. A tenth of a second is more than a line
    /// takes: who holds the lock for longer is not writing, as flock(1) around the whole command.
    fn wait_for_turn(&self) {
        for _ in 0..100 {
            if !matches!(self.file.try_lock(), Err(TryLockError::WouldBlock)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
