//! Exit codes: part of the contract with scripts, CI jobs and systemd (`RestartPreventExitStatus=64 78`).

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: converged, or nothing to do.
    Converged,
    /// 1: a problem in the folder, a failed or stalled service, the deadline, an interrupt before the end, or no room on
    /// the disk for the ledger.
    NotConverged,
    /// 2: only `plan --exit-code`: changes are pending.
    Changes,
    /// 3: nothing failed; something is held, and a person or a time is awaited.
    Held,
    /// 64: the command line cannot be understood (`EX_USAGE` of sysexits.h).
    Usage,
    /// 78: no token, a bad URL, an unreadable folder, a ledger that cannot be used (`EX_CONFIG`). Nothing was sent.
    Configuration,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Converged => 0,
            Exit::NotConverged => 1,
            Exit::Changes => 2,
            Exit::Held => 3,
            Exit::Usage => 64,
            Exit::Configuration => 78,
        })
    }
}
