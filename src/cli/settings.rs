//! Settings: what the arguments and the environment mean together. The environment comes as a function, so that tests
//! never touch the real one.

use std::ffi::OsString;
use std::path::PathBuf;

use super::args::{ConnectArgs, StateArgs, TokenArgs};
use crate::error::chain;
use crate::northflank::{ApiUrl, BuildError, Client, Settings, TokenReadError, TokenSource};
use crate::text::printable;

/// The environment, a variable at a time.
pub(super) type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The process's own environment.
pub(super) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// The ledger's folder.
pub(super) fn state_dir(args: &StateArgs, variable: Variable<'_>) -> anyhow::Result<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(dir) = &args.state_dir {
        return Ok(dir.clone());
    }
    // systemd joins several folders by colons; the unit names one.
    if let Some(dirs) = set("STATE_DIRECTORY").and_then(|dirs| dirs.into_string().ok()) {
        return Ok(dirs.split(':').next().unwrap_or_default().into());
    }
    // A relative path is to be ignored, says the XDG base directory specification.
    if let Some(dir) = set("XDG_STATE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()) {
        return Ok(dir.join("truenorth"));
    }
    match set("HOME") {
        Some(home) => Ok(PathBuf::from(home).join(".local/state/truenorth")),
        None => Err(super::misconfigured("there is no folder for the ledger", Some("name one with --state-dir"))),
    }
}

/// Where the API is. A bad URL is a matter of configuration (78), as it comes from a file or a variable as a rule.
pub(super) fn api_url(args: &ConnectArgs) -> anyhow::Result<ApiUrl> {
    let Some(given) = &args.api_url else { return Ok(ApiUrl::default()) };
    given
        .parse()
        .map_err(|error| super::misconfigured(format!("the API's URL (--api-url, NORTHFLANK_API_URL) {error}"), None))
}

/// Where the token comes from.
pub(super) fn token_source(args: &TokenArgs, variable: Variable<'_>) -> anyhow::Result<TokenSource> {
    TokenSource::choose(args.token_file.as_deref(), variable).map_err(|error| token_error(&error))
}

/// Tells whether a text holds the token, for commands that do not need one: where none can be read, nothing is found.
pub(super) fn finds_token(args: &TokenArgs, variable: Variable<'_>) -> impl Fn(&str) -> bool + Send + Sync + use<> {
    let source = TokenSource::choose(args.token_file.as_deref(), variable);
    let token = source.and_then(|source| source.read()).ok().map(|read| read.token);
    move |text| token.as_ref().is_some_and(|token| token.is_in(text))
}

/// No token: exit 78.
pub(super) fn token_error(error: &TokenReadError) -> anyhow::Error {
    super::misconfigured(chain(error), error.hint())
}

/// No client: exit 78.
pub(super) fn client_error(error: &BuildError) -> anyhow::Error {
    super::misconfigured(chain(error), error.hint())
}

/// A client of the API with its token.
pub(super) fn client(args: &ConnectArgs, variable: Variable<'_>) -> anyhow::Result<Client> {
    let settings = Settings::new(api_url(args)?, args.request_timeout);
    let read = token_source(&args.token, variable)?.read().map_err(|error| token_error(&error))?;
    if let Some(warning) = read.warning {
        super::print::note(&format!("warning: {}\n", printable(&warning.to_string())));
    }
    Client::new(settings, read.token).map_err(|error| client_error(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(given: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        let args = StateArgs { state_dir: given.map(PathBuf::from) };
        let variable = |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into());
        state_dir(&args, &variable).ok().map(|dir| dir.to_string_lossy().into_owned())
    }

    #[test]
    fn the_state_folder_is_the_first_that_is_named() {
        let home = ("HOME", "/home/a");
        let (xdg, systemd) = (("XDG_STATE_HOME", "/x"), ("STATE_DIRECTORY", "/var/lib/truenorth:/other"));
        assert_eq!(dir(Some("here"), &[home, xdg, systemd]).as_deref(), Some("here"));
        assert_eq!(dir(None, &[home, xdg, systemd]).as_deref(), Some("/var/lib/truenorth"));
        assert_eq!(dir(None, &[home, xdg]).as_deref(), Some("/x/truenorth"));
        assert_eq!(
            dir(None, &[home, ("XDG_STATE_HOME", "relative")]).as_deref(),
            Some("/home/a/.local/state/truenorth")
        );
        assert_eq!(dir(None, &[home, ("STATE_DIRECTORY", "")]).as_deref(), Some("/home/a/.local/state/truenorth"));
        assert_eq!(dir(None, &[]), None);
    }
}
