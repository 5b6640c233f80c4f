//! A file of lines that several processes append to.
//!
//! It handles partial lines, which a full disk or a kill may leave: they stay, and the next line starts on a line of its own.

use std::cell::Cell;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failpoint::reach;
use super::local::write_in_steps;

/// A file that several processes may append lines to. It is never truncated: a partial line stays, on a line of its own.
pub struct LineFile {
    file: File,
    path: PathBuf,
    /// The same file, for reading its last byte; none for a pipe, or if it may not be read.
    end: Option<File>,
    /// Whether the last line was written in part; used if `end` is none.
    broken: Cell<bool>,
}

impl LineFile {
    /// Opens a file, and creates it if it is missing.
    ///
    /// # Errors
    /// The file system.
    pub fn open(path: &Path) -> io::Result<Self> {
        reach("open", &[path])?;
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let end = if file.metadata()?.is_file() { File::open(path).ok() } else { None };
        Ok(Self { file, path: path.to_owned(), end, broken: Cell::new(false) })
    }

    /// Appends a line in one call, so that lines of several processes do not mix.
    ///
    /// # Errors
    /// The file system; a part of the line may have been written then.
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

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file ends with a partial line of this or another process.
    fn ends_within_a_line(&self) -> bool {
        let Some(mut end) = self.end.as_ref() else { return self.broken.get() };
        let mut last = [0];
        // In an empty file, this seek fails.
        let seen = end.seek(SeekFrom::End(-1)).and_then(|_| end.read_exact(&mut last));
        seen.is_ok() && last != *b"\n"
    }

    /// Locks the file, so that no process writes between reading its last byte and appending. A line takes less than a tenth of
    /// a second: a lock held for longer is not that of a line, but for example that of flock(1) around the whole command.
    fn wait_for_turn(&self) {
        for _ in 0..100 {
            if !matches!(self.file.try_lock(), Err(TryLockError::WouldBlock)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
