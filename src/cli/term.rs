//! What a terminal adds to a text: colour, a place that is drawn again, and a word while one waits.
//!
//! Decides when there is a terminal; what is said is the commands' matter. Without one there is no
//! control character in what the program writes.

use clap::ValueEnum;
use core::fmt::{self, Write as _};
use core::time::Duration;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Instant;

/// How long something may take before a person is told that it goes on.
const PATIENCE: Duration = Duration::from_secs(2);

/// Between two words of progress.
const TICK: Duration = Duration::from_secs(1);

/// When to write in colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Colour {
    /// For standard output.
    pub(super) fn paint(self) -> Paint {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Paint(match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => io::stdout().is_terminal() && !set("NO_COLOR") && !dumb,
        })
    }
}

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hue {
    Good,
    Warn,
    Bad,
    Soft,
    Strong,
}

/// Whether colours are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Paint(bool);

impl Paint {
    /// The text in a colour, or as it is.
    pub(super) fn on(self, hue: Hue, text: &str) -> String {
        let code = match hue {
            Hue::Good => "32",
            Hue::Warn => "33",
            Hue::Bad => "31",
            Hue::Soft => "2",
            Hue::Strong => "1",
        };
        if self.0 && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A member state in its colour.
    pub(super) fn state(self, text: &str) -> Option<Hue> {
        match text {
            "alive" => Some(Hue::Good),
            "suspect" => Some(Hue::Warn),
            "dead" => Some(Hue::Bad),
            "left" | "unknown" => Some(Hue::Soft),
            _ => None,
        }
        .filter(|_| self.0)
    }
}

/// Columns as wide as their widest cell, the first row being headings; `hue` is asked of each other cell,
/// by its column.
pub(super) fn table<const N: usize>(
    out: &mut String,
    rows: &[[String; N]],
    paint: Paint,
    hue: impl Fn(usize, &[String; N]) -> Option<Hue>,
) -> fmt::Result {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        let filled = row.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
        for (at, (cell, width)) in row.iter().zip(widths).enumerate().take(filled + 1) {
            let hue = if number == 0 { Some(Hue::Soft) } else { hue(at, row) };
            let painted = hue.map_or_else(|| cell.clone(), |hue| paint.on(hue, cell));
            let gap = if at == filled { 0 } else { width - cell.chars().count() + 2 };
            write!(line, "{painted}{:gap$}", "")?;
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Says on standard error that something goes on, once it has taken two seconds; only on a terminal,
/// and wiped away when it is dropped.
pub(super) struct Progress {
    stop: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Progress {
    /// Begins to wait for `what`, such as `waiting for 10.0.0.1:8770`.
    pub(super) fn of(what: impl Into<String>) -> Self {
        if !io::stderr().is_terminal() {
            return Self { stop: None, thread: None };
        }
        let what = what.into();
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            let begun = Instant::now();
            let mut pause = PATIENCE;
            let mut said = false;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = TICK;
                said = true;
                // A terminal that is gone is nobody to tell.
                let _ = write!(io::stderr(), "\r\x1b[K{}", word(&what, begun.elapsed()));
            }
            if said {
                let _ = write!(io::stderr(), "\r\x1b[K");
            }
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn word(what: &str, since: Duration) -> String {
    let what: String = what.chars().filter(|char| !char.is_control()).collect();
    format!("{what}, {} s ...", since.as_secs())
}

/// A text that takes the place of the one before: on a terminal in place, else below a line.
pub(super) fn frame(text: &str, terminal: bool, first: bool) -> String {
    if !terminal {
        return if first { text.to_owned() } else { format!("\n{text}") };
    }
    let mut out = String::from(if first { "\x1b[2J\x1b[H" } else { "\x1b[H" });
    for line in text.lines() {
        out.push_str(line);
        out.push_str("\x1b[K\r\n");
    }
    out + "\x1b[J"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_written_only_when_wanted() {
        let rows = [["A", "B"], ["long", ""], ["x", "dead"]].map(|row| row.map(String::from));
        let drawn = |paint: Paint| {
            let mut out = String::new();
            table(&mut out, &rows, paint, |at, row| paint.state(&row[at])).unwrap();
            out
        };
        assert_eq!(drawn(Paint(false)), "A     B\nlong\nx     dead\n");
        assert_eq!(
            drawn(Paint(true)),
            "\x1b[2mA\x1b[0m     \x1b[2mB\x1b[0m\nlong\nx     \x1b[31mdead\x1b[0m\n"
        );
        assert!(Colour::Always.paint().0 && !Colour::Never.paint().0);
    }

    #[test]
    fn a_frame_covers_the_one_before() {
        assert_eq!(frame("a\nb\n", true, true), "\x1b[2J\x1b[Ha\x1b[K\r\nb\x1b[K\r\n\x1b[J");
        assert_eq!(frame("a\n", true, false), "\x1b[Ha\x1b[K\r\n\x1b[J");
        assert_eq!(frame("a\n", false, true) + &frame("b\n", false, false), "a\n\nb\n");
    }

    #[test]
    fn a_word_of_progress_has_no_control_characters() {
        assert_eq!(
            word("waiting for a\x1b[2J", Duration::from_millis(3_400)),
            "waiting for a[2J, 3 s ..."
        );
    }
}
