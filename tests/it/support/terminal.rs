//! A command on a terminal: a pseudo-terminal of a known size, of which the test is the other end.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::eventually;

/// A command whose stdout is a terminal; killed when dropped.
pub(crate) struct Terminal {
    child: Child,
    ours: File,
    shown: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    pub(crate) fn start(command: &mut Command, columns: u16, rows: u16) -> Self {
        Self::of(command, columns, rows, false)
    }

    /// The same, where stdin and stderr are the terminal too: somebody sits there.
    pub(crate) fn attended(command: &mut Command) -> Self {
        Self::of(command, 80, 24, true)
    }

    fn of(command: &mut Command, columns: u16, rows: u16, attended: bool) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
        let theirs = File::options().read(true).write(true).open(theirs).unwrap();
        if attended {
            command.stdin(theirs.try_clone().unwrap()).stderr(theirs.try_clone().unwrap());
        }
        let child = command.env("TERM", "xterm").stdout(theirs).spawn().unwrap();
        let ours = File::from(ours);
        let terminal = Self { child, ours, shown: Arc::default() };
        terminal.resize(columns, rows);
        let (mut from, into) = (terminal.ours.try_clone().unwrap(), Arc::clone(&terminal.shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end is an error here: nobody has the other end open any more.
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                into.lock().unwrap().extend_from_slice(&buffer[..read]);
            }
        });
        terminal
    }

    /// Types a line.
    pub(crate) fn types(&self, line: &str) {
        (&self.ours).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Another size, as if somebody had pulled at the window.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.ours, size).unwrap();
        // It is not the controlling terminal of the command, so the kernel tells nobody.
        let _ = kill_process(Pid::from_child(&self.child), Signal::WINCH);
    }

    /// All that was written to it so far, control sequences and all.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ends_with(&mut self, code: i32) {
        let mut status = None;
        eventually("the command ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.code()), Some(code), "{}", self.shown());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a terminal shows after these bytes: the lines of the last picture, without colours.
pub(crate) fn last_picture(shown: &str) -> Vec<String> {
    let picture = shown.rsplit("\x1b[H").next().unwrap_or_default();
    let picture = picture.split("\x1b[J").next().unwrap_or_default();
    picture.split('\n').map(plain).collect()
}

/// A line without its control sequences.
pub(crate) fn plain(line: &str) -> String {
    anstream::adapter::strip_str(line).to_string().replace('\r', "")
}
