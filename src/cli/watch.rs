//! `truenorth status --watch`: the table stays on the screen and follows the ledger and the folder until Ctrl-C.
//!
//! A thread looks: at once when a file of the ledger shows that somebody wrote, and now and then in any case. What it
//! sees is drawn over what was there, on the terminal's other screen, so that nothing flickers and the shell's lines are
//! back at the end. Where stdout is no terminal, the table (or the JSON, a line) is printed each time that it changed.

use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use signal_hook::consts::{SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook_tokio::Signals;
use tokio::sync::mpsc;

use super::exit::Exit;
use super::status::StatusOutput;
use super::status::{ASKED_EVERY, Looks};
use super::status_table::{self, Detail, View, one_line};
use super::table::Size;
use super::{on_runtime, print};
use crate::text::printable;
use crate::views::Page;

/// How often the ages on the screen are brought up to date.
const AGED_EVERY: Duration = Duration::from_secs(1);

/// What a look gave.
type Seen = anyhow::Result<Box<Page>>;

pub(super) fn run(looks: Looks, every: Duration, output: StatusOutput) -> anyhow::Result<Exit> {
    let (sender, seen) = mpsc::channel(1);
    thread::Builder::new()
        .name("looks".to_owned())
        .spawn(move || look_again(looks, every, &sender))
        .context("cannot start a thread")?;
    let screen = match output {
        StatusOutput::Text | StatusOutput::Wide if understands_cursor() => Size::of_stdout(),
        StatusOutput::Text | StatusOutput::Wide | StatusOutput::Json => None,
    };
    on_runtime(async move {
        match screen {
            Some(_) => on_screen(seen, Detail::of(output)).await,
            None => in_lines(seen, output).await,
        }
    })
}

/// Whether the terminal can be drawn on at all.
fn understands_cursor() -> bool {
    std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Looks until nobody wants to see.
fn look_again(mut looks: Looks, every: Duration, sender: &mpsc::Sender<Seen>) {
    loop {
        // Taken before: what is written during the look is seen by the next one.
        let traces = looks.traces();
        if sender.blocking_send(looks.look().map(|(page, _)| Box::new(page))).is_err() {
            return;
        }
        let again = Instant::now() + every;
        while Instant::now() < again && looks.traces() == traces {
            if sender.is_closed() {
                return;
            }
            thread::sleep(ASKED_EVERY.min(every));
        }
    }
}

/// Prints each time that something changed.
async fn in_lines(mut seen: mpsc::Receiver<Seen>, output: StatusOutput) -> anyhow::Result<Exit> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).context("cannot catch signals")?;
    let mut last: Option<View> = None;
    loop {
        let looked = tokio::select! {
            Some(looked) = seen.recv() => looked,
            _ = signals.next() => return Ok(Exit::Converged),
        };
        let page = match (looked, &last) {
            (Ok(page), _) => page,
            (Err(error), None) => return Err(error),
            // It was well before, and may be again.
            (Err(error), Some(_)) => {
                writeln!(anstream::stderr(), "error: {}", printable(&format!("{error:#}")))?;
                continue;
            }
        };
        let view = View::of(&page);
        if last.as_ref() == Some(&view) {
            continue;
        }
        let written = match output {
            StatusOutput::Json => print::write_json(&page),
            StatusOutput::Text | StatusOutput::Wide => {
                let lines = status_table::lines(&view, Timestamp::now(), None, Detail::of(output));
                let between = if last.is_some() { "\n" } else { "" };
                let mut out = anstream::stdout();
                out.write_all(format!("{between}{}\n", lines.join("\n")).as_bytes()).and_then(|()| out.flush())
            }
        };
        // Nobody reads any more.
        if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return Ok(Exit::Converged);
        }
        print::told(written)?;
        last = Some(view);
    }
}

/// Keeps the table on the screen.
async fn on_screen(mut seen: mpsc::Receiver<Seen>, detail: Detail) -> anyhow::Result<Exit> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGTSTP, SIGWINCH]).context("cannot catch signals")?;
    let mut aged = tokio::time::interval(AGED_EVERY);
    let mut view = loop {
        tokio::select! {
            Some(first) = seen.recv() => break View::of(&*first?),
            signal = signals.next() => {
                if matches!(signal, Some(SIGINT | SIGTERM) | None) {
                    return Ok(Exit::Converged);
                }
            }
        }
    };
    let mut failure = None;
    let mut screen = Screen::enter()?;
    loop {
        screen.draw(frame(&view, failure.as_deref()))?;
        tokio::select! {
            Some(looked) = seen.recv() => match looked {
                Ok(page) => (view, failure) = (View::of(&page), None),
                Err(error) => failure = Some(format!("{error:#}")),
            },
            signal = signals.next() => match signal {
                Some(SIGWINCH) => screen.forget(),
                Some(SIGTSTP) => {
                    screen.leave()?;
                    signal_hook::low_level::emulate_default_handler(SIGTSTP).context("cannot stop")?;
                    screen = Screen::enter()?;
                }
                _ => break,
            },
            _ = aged.tick() => {}
        }
    }
    screen.leave()?;
    // What was seen last stays, between the shell's lines.
    let lines = status_table::lines(&view, Timestamp::now(), Size::of_stdout().map(|size| size.columns), detail);
    print::verbatim(&(lines.join("\n") + "\n"))?;
    Ok(Exit::Converged)
}

fn frame(view: &View, failure: Option<&str>) -> Vec<String> {
    let size = Size::of_stdout().unwrap_or(Size { columns: 80, rows: 24 });
    // The last column stays free: a terminal that is about to wrap does not agree with others on what is erased.
    let columns = size.columns.saturating_sub(1);
    let rows = size.rows.saturating_sub(usize::from(failure.is_some()));
    let mut lines = status_table::screen(view, Timestamp::now(), Size { columns, rows });
    if let Some(failure) = failure {
        let style = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
        lines.push(one_line(&printable(failure), style, Some(columns)));
    }
    lines
}

/// The terminal's other screen, without a cursor. Whatever ends, the first one comes back.
struct Screen {
    drawn: Option<Vec<String>>,
    entered: bool,
}

impl Screen {
    fn enter() -> io::Result<Self> {
        put("\x1b[?1049h\x1b[?25l")?;
        Ok(Self { drawn: None, entered: true })
    }

    /// Draws what differs from what is there: nothing, as a rule.
    fn draw(&mut self, lines: Vec<String>) -> io::Result<()> {
        if self.drawn.as_ref() == Some(&lines) {
            return Ok(());
        }
        // In one write, as one picture where the terminal knows how (mode 2026), each line over the one before.
        let erased: Vec<String> = lines.iter().map(|line| format!("{}\x1b[K", coloured(line))).collect();
        put(&format!("\x1b[?2026h\x1b[H{}\x1b[J\x1b[?2026l", erased.join("\r\n")))?;
        self.drawn = Some(lines);
        Ok(())
    }

    /// What is there is not known any more.
    fn forget(&mut self) {
        self.drawn = None;
    }

    fn leave(&mut self) -> io::Result<()> {
        self.entered = false;
        put("\x1b[?25h\x1b[?1049l")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.entered {
            // There is nothing left to be done where this fails.
            let _ = self.leave();
        }
    }
}

/// A line with its colours, where the terminal and `NO_COLOR` let it have any.
fn coloured(line: &str) -> String {
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => anstream::adapter::strip_str(line).to_string(),
        _ => line.to_owned(),
    }
}

fn put(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
