//! Work without the interpreter: it runs on a thread of its own while the calling one passes on messages and looks for signals.
//!
//! Workers never wait for the interpreter, so that nothing they hold can be waited for by one that holds it. Ctrl-C requests a stop, and
//! the call ends once the work has saved what it must.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::Result;
use limpid::error::{self, Kind};
use limpid::interrupt;
use limpid::progress::{Listener, Progress};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use serde_json::Value;

use crate::errors::{exception, of_kind};

/// Time between two looks for signals.
const SIGNALS: Duration = Duration::from_millis(50);

/// What a worker has to say.
enum Message<T> {
    Event { event: String, message: String },
    Task { name: String, done: Option<u64>, total: u64, unit: &'static str },
    Done(Result<T>),
}

struct Teller<T>(Sender<Message<T>>);

impl<T: Send> Listener for Teller<T> {
    // The receiver waits for the work, and is there as long as it is.
    fn event(&self, event: &str, message: &str, _fields: Value) {
        _ = self.0.send(Message::Event { event: event.to_owned(), message: message.to_owned() });
    }

    fn task(&self, name: &str, done: Option<u64>, total: u64, unit: &'static str) {
        _ = self.0.send(Message::Task { name: name.to_owned(), done, total, unit });
    }
}

/// Does the work; `reporter`, or that of `limpid._progress`, is told of its progress.
///
/// # Errors
/// Those of the work, of the reporter, and of signal handlers.
pub fn watched<T: Send + 'static>(
    py: Python<'_>,
    reporter: Option<Py<PyAny>>,
    work: impl FnOnce(&Progress) -> Result<T> + Send,
) -> PyResult<T> {
    let (made, stop) = py.detach(move || {
        let (sender, messages) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let progress = Progress::heard(Arc::new(Teller(sender.clone())));
                let made = catch_unwind(AssertUnwindSafe(|| work(&progress)));
                let made = made.unwrap_or_else(|_| Err(error::bug("a panic ended the work")));
                _ = sender.send(Message::Done(made));
            });
            let (mut stop, mut looked) = (None, Instant::now());
            loop {
                let told = match messages.recv_timeout(SIGNALS.saturating_sub(looked.elapsed())) {
                    Ok(Message::Done(made)) => {
                        if stop.is_some() {
                            interrupt::request(false);
                        }
                        return (made, stop);
                    }
                    Ok(message) => Python::attach(|py| tell(py, reporter.as_ref(), message)),
                    Err(RecvTimeoutError::Timeout) => {
                        looked = Instant::now();
                        Python::attach(|py| py.check_signals())
                    }
                    Err(RecvTimeoutError::Disconnected) => return (Err(error::bug("the work has gone")), stop),
                };
                if let Err(cause) = told {
                    interrupt::request(true);
                    stop.get_or_insert(cause);
                }
            }
        })
    });
    match (made, stop) {
        (Ok(made), None) => Ok(made),
        (Err(cause), None) => Err(exception(py, &cause)),
        (made, Some(stop)) if stop.is_instance_of::<PyKeyboardInterrupt>(py) => {
            let message = match made {
                Err(cause) => error::message(&cause),
                Ok(_) => "interrupted when all was done".to_owned(),
            };
            let interrupted = of_kind(py, Kind::TryAgain, message);
            interrupted.set_cause(py, Some(stop));
            Err(interrupted)
        }
        (_, Some(stop)) => Err(stop),
    }
}

fn tell<T>(py: Python<'_>, reporter: Option<&Py<PyAny>>, message: Message<T>) -> PyResult<()> {
    let reporter = match reporter {
        Some(reporter) => reporter.bind(py).clone(),
        None => py.import("limpid._progress")?.getattr("quiet")?,
    };
    match message {
        Message::Event { event, message } => reporter.call_method1("event", (event, message))?,
        Message::Task { name, done, total, unit } => reporter.call_method1("task", (name, done, total, unit))?,
        Message::Done(_) => return Ok(()),
    };
    Ok(())
}
