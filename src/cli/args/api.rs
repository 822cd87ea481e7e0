//! Where the API is, and what opens it.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::FalseyValueParser;
use clap::{ArgAction, Args};

use super::request_timeout;

#[derive(Args, Debug)]
pub(in crate::cli) struct ApiArgs {
    #[command(flatten)]
    pub(in crate::cli) connect: ConnectArgs,
    /// Use an in-process stand-in for the API, and a throw-away ledger unless --state-dir is given
    #[arg(long, env = "TRUENORTH_SANDBOX", action = ArgAction::SetTrue, value_parser = FalseyValueParser::new())]
    pub(in crate::cli) sandbox: bool,
}

/// Where the API is.
#[derive(Args, Debug)]
pub(in crate::cli) struct UrlArgs {
    /// Where the API is.
    // Its value stays out of the help text: a URL that is refused may be one with a password.
    #[arg(
        long,
        value_name = "URL",
        env = "NORTHFLANK_API_URL",
        hide_env_values = true,
        help = "Where the API is: https, or http on loopback only [default: https://api.northflank.com]"
    )]
    pub(in crate::cli) api_url: Option<String>,
}

/// Where the API is, and what opens it.
#[derive(Args, Debug)]
pub(in crate::cli) struct ConnectArgs {
    #[command(flatten)]
    pub(in crate::cli) url: UrlArgs,
    #[command(flatten)]
    pub(in crate::cli) token: TokenArgs,
    /// Time for one API call, from connecting to the end of its answer
    #[arg(long, value_name = "DURATION", env = "TRUENORTH_REQUEST_TIMEOUT", default_value = "30s", value_parser = request_timeout)]
    pub(in crate::cli) request_timeout: Duration,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct TokenArgs {
    /// File that holds the API token; read again on SIGHUP, and when the API refuses the token
    #[arg(long, value_name = "FILE", env = "TRUENORTH_TOKEN_FILE")]
    pub(in crate::cli) token_file: Option<PathBuf>,
}
