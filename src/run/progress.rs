//! What a person sees while work runs: bars in a terminal, a plain line now and then elsewhere, nothing when quiet.
//! All of it goes to standard error. Knows nothing of the work but its name, unit and count.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::text;

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// The rate shown is that of the last one or two windows.
const RATE_WINDOW: Duration = Duration::from_secs(15);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Bars,
    Lines,
    Quiet,
}

/// The screen, shared by all tasks of a run.
pub struct Progress {
    style: Style,
    bars: MultiProgress,
}

impl Progress {
    /// Bars if standard error is a terminal, lines if not, nothing if `quiet`.
    pub fn new(quiet: bool) -> Progress {
        let style = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Style::Quiet,
            (false, true) => Style::Bars,
            (false, false) => Style::Lines,
        };
        Progress::with_style(style)
    }

    /// Progress in a given style.
    pub fn with_style(style: Style) -> Progress {
        let target = if style == Style::Bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Progress { style, bars: MultiProgress::with_draw_target(target) }
    }

    /// Says a line, also while bars are drawn; not when quiet.
    pub fn say(&self, line: &str) {
        match self.style {
            Style::Quiet => {}
            Style::Lines => eprintln!("{line}"),
            // A failed write to a terminal that went away is no reason to stop working.
            Style::Bars => self.bars.println(line).unwrap_or(()),
        }
    }

    /// Says a warning, also when quiet.
    pub fn warn(&self, line: &str) {
        match self.style {
            Style::Quiet => eprintln!("warning: {line}"),
            _ => self.say(&format!("warning: {line}")),
        }
    }

    /// Starts a task of `total` units; `unit` is one of them in words ("image", "step").
    pub fn task(&self, name: &str, total: usize, unit: &'static str) -> Task<'_> {
        let bar = self.bars.add(ProgressBar::new(total as u64));
        let template = "{prefix:>22} {bar:28.cyan/dim} {pos:>6}/{len} {wide_msg}";
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(name.to_string());
        bar.tick();
        let now = Instant::now();
        Task {
            progress: self,
            bar,
            name: name.to_string(),
            unit,
            total,
            done: 0,
            begun_at: 0,
            started: now,
            said: now,
            marks: [(now, 0); 2],
        }
    }
}

/// Called from the signal handler: tells that the first Ctrl-C was heard.
pub(super) fn stopping() {
    eprintln!("\nstopping after the piece of work in hand; Ctrl-C again ends at once");
}

/// One task on the screen; a task dropped without [`Task::finish`] leaves no trace.
pub struct Task<'a> {
    progress: &'a Progress,
    bar: ProgressBar,
    name: String,
    unit: &'static str,
    total: usize,
    done: usize,
    /// Units that were done before this run: not counted in the rate.
    begun_at: usize,
    started: Instant,
    said: Instant,
    /// Where the work stood one and two windows ago: the rate is that of the last while, not of the whole task.
    marks: [(Instant, usize); 2],
}

impl Task<'_> {
    /// Work was taken up at `done` units made earlier.
    pub fn resume(&mut self, done: usize) {
        self.begun_at = done;
        self.marks = [(Instant::now(), done); 2];
        self.set(done, "");
    }

    /// `done` units of the total are made; `note` is shown beside them.
    pub fn set(&mut self, done: usize, note: &str) {
        self.done = done;
        if self.marks[1].0.elapsed() >= RATE_WINDOW {
            self.marks = [self.marks[1], (Instant::now(), done)];
        }
        let line = self.line(note);
        match self.progress.style {
            Style::Bars => {
                self.bar.set_position(done as u64);
                self.bar.set_message(line);
            }
            Style::Lines if self.said.elapsed() >= LINE_EVERY => {
                self.said = Instant::now();
                eprintln!("{}: {}/{} {line}", self.name, text::thousands(done), text::thousands(self.total));
            }
            _ => {}
        }
    }

    /// So many more units are made.
    pub fn advance(&mut self, n: usize) {
        self.set(self.done + n, "");
    }

    /// The task is over: says what was done and how long it took.
    pub fn finish(self) {
        self.bar.finish_and_clear();
        let made = self.done.saturating_sub(self.begun_at);
        let elapsed = self.started.elapsed();
        self.progress.say(&format!("{}: {} in {}", self.name, text::count(made, self.unit), text::duration(elapsed)));
    }

    fn line(&self, note: &str) -> String {
        let (since, from) = self.marks[0];
        let (elapsed, made) = (since.elapsed().as_secs_f64(), self.done.saturating_sub(from));
        let mut line = String::new();
        if made > 0 && elapsed > 0.5 {
            let rate = made as f64 / elapsed;
            let left = Duration::from_secs_f64((self.total.saturating_sub(self.done)) as f64 / rate);
            line = format!("{rate:.1} {}s/s, {} left", self.unit, text::duration(left));
        }
        if !note.is_empty() {
            line = if line.is_empty() { note.to_string() } else { format!("{line}, {note}") };
        }
        line
    }
}

impl Drop for Task<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
