//! Progress messages: bars on a terminal, a line every few seconds elsewhere, or JSON lines; or calls of a [`Listener`].
//!
//! The only file that names indicatif. Everything goes to stderr; results go to stdout and are printed elsewhere.
//!
//! [`SCHEMA`] describes the JSON lines; a test validates the lines of real runs against it.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use serde_json::{Value, json};

use crate::text::{cell, escaped, on_one_line, say};

/// The JSON schema of a line of `--log json`.
pub const SCHEMA: &str = include_str!("log.schema.json");

/// Time between two lines about the same task, unless another is asked for.
const INTERVAL: Duration = Duration::from_secs(5);

/// The form of progress messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogMode {
    /// Bars on a terminal, lines elsewhere.
    Auto,
    /// Bars; lines where stderr is no terminal, since bars would show nothing there.
    Bar,
    /// A line every few seconds.
    Lines,
    /// One JSON object a line.
    Json,
}

/// Receives progress in place of stderr, on any thread.
pub trait Listener: Send + Sync {
    /// An event, with a message for people.
    fn event(&self, event: &str, message: &str, fields: Value);

    /// So many of `total` units (0 if unknown) of a task are done; `done` is none once the task has ended.
    fn task(&self, name: &str, done: Option<u64>, total: u64, unit: &'static str);
}

/// The destination of progress messages; clones share it.
#[derive(Clone)]
pub struct Progress {
    display: Display,
    interval: Duration,
}

#[derive(Clone)]
enum Display {
    Bars(MultiProgress),
    Lines,
    Json,
    Heard(Arc<dyn Listener>),
    /// Nowhere.
    Silent,
}

impl Progress {
    /// Progress of what is done twice, and told the other time.
    pub fn silent() -> Self {
        Self { display: Display::Silent, interval: INTERVAL }
    }

    /// Progress on stderr.
    pub fn new(mode: LogMode) -> Self {
        let display = match mode {
            LogMode::Auto | LogMode::Bar if std::io::stderr().is_terminal() => Display::Bars(MultiProgress::new()),
            LogMode::Auto | LogMode::Bar | LogMode::Lines => Display::Lines,
            LogMode::Json => Display::Json,
        };
        Self { display, interval: INTERVAL }
    }

    /// Progress that a listener is told, of a task ten times a second at most.
    pub fn heard(listener: Arc<dyn Listener>) -> Self {
        Self { display: Display::Heard(listener), interval: Duration::from_millis(100) }
    }

    /// The same with another time between two lines about a task.
    pub fn every(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// Starts to report a task of which only the time that it takes is known.
    pub fn wait(&self, name: &str) -> Task {
        self.task(name, 0, "")
    }

    /// Starts to report a task of `total` units (0 if unknown), until the value returned is dropped.
    pub fn task(&self, name: &str, total: u64, unit: &'static str) -> Task {
        let bar = match &self.display {
            Display::Bars(bars) => Some(bar(bars, name, total, unit)),
            _ => None,
        };
        let state = TaskState {
            progress: self.clone(),
            name: name.to_owned(),
            total,
            unit,
            start: Instant::now(),
            done: AtomicU64::new(0),
            told: Mutex::new(Instant::now()),
            bar,
        };
        Task { state: Arc::new(state) }
    }

    /// Reports an event: `fields` go into the JSON line, `message` is for people.
    pub fn event(&self, event: &str, message: &str, fields: Value) {
        match &self.display {
            // A broken terminal must not end the work.
            Display::Bars(bars) => _ = bars.println(escaped(message)),
            Display::Lines => say(message),
            Display::Json => json_line(event, fields, Some(message)),
            Display::Heard(listener) => listener.event(event, message, fields),
            Display::Silent => {}
        }
    }

    /// Reports a message without fields.
    pub fn note(&self, message: &str) {
        self.event("note", message, json!({}));
    }
}

/// A task under way; clones count for the same task.
#[derive(Clone)]
pub struct Task {
    state: Arc<TaskState>,
}

struct TaskState {
    progress: Progress,
    name: String,
    total: u64,
    unit: &'static str,
    start: Instant,
    done: AtomicU64,
    told: Mutex<Instant>,
    bar: Option<ProgressBar>,
}

impl Task {
    /// Counts `units` more as done.
    pub fn advance(&self, units: u64) {
        let state = &*self.state;
        let done = state.done.fetch_add(units, Ordering::Relaxed) + units;
        if let Some(bar) = &state.bar {
            bar.set_position(done);
            return;
        }
        let mut told = state.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.elapsed() >= state.progress.interval {
            *told = Instant::now();
            state.tell(done);
        }
    }
}

impl TaskState {
    fn tell(&self, done: u64) {
        match &self.progress.display {
            Display::Silent => return,
            Display::Heard(listener) => return listener.task(&self.name, Some(done), self.total, self.unit),
            Display::Bars(_) | Display::Lines | Display::Json => {}
        }
        let rate = done as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        let remaining = (self.total > done && rate > 0.0).then(|| (self.total - done) as f64 / rate);
        if let Display::Json = self.progress.display {
            let fields = json!({
                "task": self.name, "done": done, "total": self.total, "unit": self.unit,
                "rate": rate.round(), "remaining": remaining.map(f64::round),
            });
            json_line("progress", fields, None);
            return;
        }
        if self.unit.is_empty() {
            say(&format!("{}: {:.0} s", on_one_line(&self.name), self.start.elapsed().as_secs_f64()));
            return;
        }
        let percent =
            if self.total > 0 { format!(" {:3.0} %", 100.0 * done as f64 / self.total as f64) } else { String::new() };
        let remaining = remaining.map_or(String::new(), |seconds| format!(", {seconds:.0} s left"));
        let (name, unit) = (on_one_line(&self.name), self.unit);
        say(&format!("{name}:{percent} {done} {unit}, {rate:.0}/s{remaining}"));
    }
}

impl Drop for TaskState {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Display::Heard(listener) = &self.progress.display {
            listener.task(&self.name, None, self.total, self.unit);
        }
    }
}

/// A bar among others.
fn bar(bars: &MultiProgress, name: &str, total: u64, unit: &str) -> ProgressBar {
    let template = match (total, unit) {
        (_, "") => "{prefix} {spinner} {elapsed}".to_owned(),
        (0, _) => "{prefix} {spinner} {human_pos} {msg}".to_owned(),
        (_, "bytes") => "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}".to_owned(),
        _ => "{prefix} {bar:30} {percent:>3} % {human_pos}/{human_len} {msg} {rate} {eta} left".to_owned(),
    };
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let rate = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
        let rate = state.per_sec();
        // A bar without it is better than none.
        _ = if (0.05..10.0).contains(&rate) { write!(to, "{rate:.1}/s") } else { write!(to, "{rate:.0}/s") };
    };
    // Added before anything draws it: what it draws by itself, the others do not know, and leave it there.
    let bar = bars.add(ProgressBar::new(total));
    bar.set_style(style.with_key("rate", rate).progress_chars("━╸ "));
    bar.set_prefix(cell(name));
    bar.set_message(unit.to_owned());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn json_line(event: &str, fields: Value, message: Option<&str>) {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    let mut object = json!({ "time": (time * 1000.0).round() / 1000.0, "event": event });
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
        object.extend(fields);
        if let Some(message) = message {
            object.insert("message".to_owned(), message.into());
        }
    }
    say(&object.to_string());
}
