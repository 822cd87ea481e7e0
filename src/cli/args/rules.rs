//! What is done where a manifest alone does not decide.

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args, ValueEnum};

use crate::model::{DriftMode, OnFailure};
use crate::plan::{Adopt, InvalidMaxChanges, MaxChanges, Rules};

/// What is done where a manifest alone does not decide.
#[derive(Args, Debug)]
pub(in crate::cli) struct RuleArgs {
    /// Send the update of a service that the ledger does not know without reading first what it runs
    ///
    /// Without this such a service is read, and recorded as applied where it runs what its manifest says: a lost state
    /// folder or a new machine restarts nothing.
    #[arg(long, env = "TRUENORTH_NO_ADOPT", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(in crate::cli) no_adopt: bool,
    /// Daemon: what to do where a service runs something else than was applied
    ///
    /// Services are read in turn with at most half of the calls that the rate limit leaves over. A manifest's
    /// policy.drift goes before this.
    #[arg(long, value_name = "WHAT", env = "TRUENORTH_DRIFT", default_value = "report")]
    pub(in crate::cli) drift: DriftArg,
    /// What follows where a rollout fails: nothing, or what ran before is sent again, once
    ///
    /// What failed is not sent again by itself in either case. A manifest's policy.onFailure goes before this.
    #[arg(long, value_name = "WHAT", env = "TRUENORTH_ON_FAILURE", default_value = "hold")]
    on_failure: OnFailureArg,
}

impl RuleArgs {
    pub(in crate::cli) fn rules(&self) -> Rules {
        let adopt = if self.no_adopt { Adopt::SendFirst } else { Adopt::ReadFirst };
        let drift = match self.drift {
            DriftArg::Report => DriftMode::Report,
            DriftArg::Correct => DriftMode::Correct,
            DriftArg::Off => DriftMode::Off,
        };
        Rules { adopt, drift }
    }

    pub(in crate::cli) fn on_failure(&self) -> OnFailure {
        match self.on_failure {
            OnFailureArg::Hold => OnFailure::Hold,
            OnFailureArg::LastGood => OnFailure::LastGood,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnFailureArg {
    /// Leave the service as it is
    Hold,
    /// Send the last version that ran
    LastGood,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum DriftArg {
    /// Tell it, and leave the service as it is
    Report,
    /// Send again what the manifest says
    Correct,
    /// Do not look
    Off,
}

/// How much one plan may change.
#[derive(Args, Debug)]
pub(in crate::cli) struct FuseArgs {
    /// Hold a plan that changes more services than that until somebody approves it: a number, a percentage, or off
    ///
    /// Services that were deployed before count, and of these a percentage is taken; first deployments do not. Nothing of
    /// a plan that is held is sent; `truenorth approve PLAN` lets it out.
    #[arg(long, value_name = "N|P%", env = "TRUENORTH_MAX_CHANGES", default_value = "off", value_parser = limit)]
    max_changes: Limit,
}

/// A limit, or none.
#[derive(Clone, Copy, Debug)]
struct Limit(Option<MaxChanges>);

/// Reads a limit of changes.
fn limit(text: &str) -> Result<Limit, InvalidMaxChanges> {
    MaxChanges::parse(text).map(Limit)
}

impl FuseArgs {
    pub(in crate::cli) fn max_changes(&self) -> Option<MaxChanges> {
        self.max_changes.0
    }
}
