//! Downloads MNIST from a mirror.
//!
//! A file gets its name only once its digest is verified. The transfer has a thread of its own, which may block for
//! as long as a mirror is silent; the waiting thread checks time limits and the interrupt flag.

use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::gzip;
use super::files::{read_limited, read_part};
use super::{Mnist, PARTS, Part, verify};
use crate::error::{self, Kind};
use crate::interrupt;
use crate::progress::Progress;
use crate::store::local;

/// Longest silence of a mirror.
const SILENCE: Duration = Duration::from_secs(20);
/// Longest transfer of one file.
const PATIENCE: Duration = Duration::from_secs(600);
/// Time between two checks of the interrupt flag.
const LOOK: Duration = Duration::from_millis(250);

/// A message of the transferring thread.
enum Message {
    /// The mirror has answered with this content length, 0 if it gave none.
    Length(u64),
    /// The next bytes.
    Bytes(Vec<u8>),
    /// Everything was sent.
    End,
}

/// Downloads the files that `folder` lacks from the first mirror that delivers them whole.
///
/// # Errors
/// No mirror delivers, interruption, the file system.
pub fn download(mirrors: &[String], folder: &Path, progress: &Progress) -> Result<Mnist> {
    local::create_folder(folder)?;
    let payloads = PARTS.iter().map(|part| match read_part(folder, part) {
        Ok(Some(payload)) => Ok(payload),
        // A damaged one is replaced.
        Ok(None) | Err(_) => download_part(mirrors, part, folder, progress),
    });
    Ok(Mnist::new(payloads.collect::<Result<_>>()?))
}

fn download_part(mirrors: &[String], part: &Part, folder: &Path, progress: &Progress) -> Result<Vec<u8>> {
    let mut failures = Vec::new();
    // Each mirror is tried twice, from the start, since dropped connections are common.
    for mirror in mirrors.iter().flat_map(|mirror| [mirror, mirror]) {
        match fetch(mirror, part, folder, progress) {
            Ok(payload) => return Ok(payload),
            Err(cause) if error::kind(&cause) == Kind::TryAgain => return Err(cause),
            Err(cause) => failures.push(format!("{mirror}: {cause:#}")),
        }
    }
    failures.dedup();
    let (name, tried) = (part.name, failures.join("; "));
    let advice = "put the four files into a folder and name it in MNIST_DIR, or use `strokes` as the source";
    Err(error::io(format!("MNIST is not on this machine and {name} could not be downloaded ({tried}); {advice}")))
}

fn fetch(mirror: &str, part: &Part, folder: &Path, progress: &Progress) -> Result<Vec<u8>> {
    let name = format!("{}.gz", part.name);
    let bytes = transfer(format!("{}/{name}", mirror.trim_end_matches('/')), part, &name, progress)?;
    // Some proxies decompress files.
    let name = if gzip::is_gzip(&bytes) { &name } else { part.name };
    let path = folder.join(name);
    let payload = verify(part, read_limited(gzip::payload(bytes.as_slice())?, part, &path)?, &path)?;
    match local::write_beside_others(&path, &bytes) {
        // Another process is writing the same file.
        Err(cause) if error::kind(&cause) == Kind::TryAgain => Ok(payload),
        written => written.map(|()| payload),
    }
}

/// The bytes at an address, which are not many more than those of `part`.
fn transfer(url: String, part: &Part, name: &str, progress: &Progress) -> Result<Vec<u8>> {
    interrupt::check()?;
    // Bounded, so that a slow receiver slows the transfer instead of filling memory.
    let (sender, messages) = mpsc::sync_channel(4);
    // Never joined: after an interruption the process ends without it, after a failure it ends by its own time-outs.
    std::thread::spawn(move || {
        let end = request(&url, &sender).map(|()| Message::End);
        _ = sender.send(end);
    });
    let (start, mut task, mut bytes) = (Instant::now(), None, Vec::new());
    // Gzip adds less than this.
    let most = part.len + (1 << 20);
    loop {
        match receive(&messages)? {
            Message::Length(length) => task = Some(progress.task(&format!("download {name}"), length, "bytes")),
            Message::Bytes(more) => {
                bytes.extend_from_slice(&more);
                task.iter().for_each(|task| task.advance(more.len() as u64));
            }
            Message::End => return Ok(bytes),
        }
        anyhow::ensure!(bytes.len() <= most, "it sends more than {most} bytes");
        anyhow::ensure!(start.elapsed() < PATIENCE, "it sent only {} bytes in {} s", bytes.len(), PATIENCE.as_secs());
    }
}

/// The next message, unless a signal or too long a silence comes before it.
fn receive(messages: &Receiver<Result<Message>>) -> Result<Message> {
    let start = Instant::now();
    loop {
        interrupt::check()?;
        match messages.recv_timeout(LOOK) {
            Ok(message) => return message,
            Err(RecvTimeoutError::Timeout) => {
                anyhow::ensure!(start.elapsed() < SILENCE, "it sent nothing for {} s", SILENCE.as_secs());
            }
            Err(RecvTimeoutError::Disconnected) => return Err(error::bug("the download ended without a word")),
        }
    }
}

/// Requests an address and sends the messages; it ends when the receiver is dropped.
fn request(url: &str, sender: &SyncSender<Result<Message>>) -> Result<()> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_per_read(Some(SILENCE))
        .timeout_global(Some(PATIENCE))
        // The file is compressed already, and is stored as it is.
        .accept_encoding("identity")
        .user_agent(concat!("limpid/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let mut response = agent.get(url).call()?;
    let length = response.body().content_length().unwrap_or(0);
    let mut body = response.body_mut().as_reader();
    let mut message = Message::Length(length);
    let mut buffer = vec![0; 1 << 16];
    while sender.send(Ok(message)).is_ok() {
        let read = body.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        message = Message::Bytes(buffer[..read].to_vec());
    }
    Ok(())
}
