//! How far a pass or an import is, on a terminal, once it takes longer than a second.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::print;
use crate::pass::{Progress, Shown, Waiting};
use crate::text::{counted, printable, short};
use crate::views::Page;

/// How long a pass stays silent.
const SILENT: Duration = Duration::from_secs(1);

/// The line at the bottom of the terminal; nothing where stderr is no terminal.
struct Line {
    began: Instant,
    bar: Option<ProgressBar>,
}

impl Line {
    fn new() -> Self {
        Self { began: Instant::now(), bar: std::io::stderr().is_terminal().then(ProgressBar::hidden) }
    }

    /// Shows so many of all, in this form; gives the bar where it is seen.
    fn show(&self, template: &str, done: usize, all: usize) -> Option<&ProgressBar> {
        let bar = self.bar.as_ref().filter(|_| self.began.elapsed() >= SILENT)?;
        if bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
        }
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        Some(bar)
    }

    fn clear(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How many of the updates of a pass have ended, and what the rest waits for.
pub(super) struct ProgressLine(Line);

impl ProgressLine {
    pub(super) fn new() -> Self {
        Self(Line::new())
    }

    /// Shows how far the pass is, and a line for each service that got further.
    pub(super) fn show(&self, shown: &Shown) {
        match shown {
            Shown::Progress(progress) => self.progress(progress),
            Shown::Stopping { calls, most } => {
                let (calls, most) = (counted(*calls, "call"), short::wait(*most));
                self.tell(&format!(
                    "stopping: waiting for {calls} in flight, {most} at most; Ctrl-C again ends it at once"
                ));
            }
            Shown::Sent(key) => self.tell(&format!("{key}: sent")),
            Shown::Rollout(key, rollout) => self.tell(&format!("{key}: {}", rollout.words())),
        }
    }

    /// A line above the bar. Where stderr is no terminal the log has it.
    fn tell(&self, line: &str) {
        let tell = || {
            let _ = writeln!(anstream::stderr(), "{}", printable(line));
        };
        if let Some(bar) = &self.0.bar {
            bar.suspend(tell);
        }
    }

    fn progress(&self, progress: &Progress) {
        let template = "{bar:20} {pos}/{len} updates, {msg} ({elapsed})";
        let Some(bar) = self.0.show(template, progress.ended, progress.due) else { return };
        bar.set_message(match &progress.waiting {
            Waiting::Calls(calls) => format!("{calls} in flight"),
            Waiting::Rollouts(services) => format!("{services} rolling out"),
            Waiting::Retries(services) => format!("{services} waiting to be tried again"),
            Waiting::RateLimit { until } => {
                let left = until.duration_since(Timestamp::now()).as_secs().max(0);
                format!("waiting {left} s for the rate limit")
            }
        });
    }

    /// Takes the line away.
    pub(super) fn clear(self) {
        self.0.clear();
    }
}

/// The same while it is waited until services are converged.
pub(super) struct WaitLine(Line);

impl WaitLine {
    pub(super) fn new() -> Self {
        Self(Line::new())
    }

    /// Shows how many services are converged, of all.
    pub(super) fn show(&self, page: &Page) {
        let converged = page.services.iter().filter(|service| service.status.state.is_converged()).count();
        self.0.show("{bar:20} {pos}/{len} services converged ({elapsed})", converged, page.services.len());
    }

    /// Takes the line away.
    pub(super) fn clear(self) {
        self.0.clear();
    }
}

/// The same for reads of live, a service each. That everything waits for the rate limit is told on stderr also where
/// that is no terminal.
pub(super) struct ReadsLine(Line);

impl ReadsLine {
    pub(super) fn new() -> Self {
        Self(Line::new())
    }

    /// Shows how many services are done, of all.
    pub(super) fn show(&self, done: usize, all: usize) {
        self.0.show("{bar:20} {pos}/{len} services ({elapsed})", done, all);
    }

    /// Tells that everything waits.
    pub(super) fn limited(&self, wait: Duration, until: Timestamp) {
        let until = until.strftime("%H:%M:%S UTC");
        let tell =
            || print::note(&format!("the rate limit is used up: waiting {}, until {until}\n", short::wait(wait)));
        match &self.0.bar {
            Some(bar) => bar.suspend(tell),
            None => tell(),
        }
    }

    /// Takes the line away.
    pub(super) fn clear(self) {
        self.0.clear();
    }
}
