//! Settings: what the arguments and the environment mean together. The environment comes as a function, so that tests
//! never touch the real one.

use std::ffi::OsString;
use std::path::PathBuf;

use super::args::{ConnectArgs, StateArgs, TokenArgs, UrlArgs};
use super::{Several, origin};
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
    let found = args.state_dir.clone().or_else(|| usual_state_dir(variable).map(|(dir, _)| dir));
    found.ok_or_else(|| super::misconfigured("there is no folder for the ledger", Some("name one with --state-dir")))
}

/// The ledger's folder where none is named, and the variable that it follows from.
fn usual_state_dir(variable: Variable<'_>) -> Option<(PathBuf, &'static str)> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(|value| (value, name));
    // systemd joins several folders by colons; the unit names one.
    if let Some((dirs, name)) = set("STATE_DIRECTORY")
        && let Ok(dirs) = dirs.into_string()
    {
        return Some((dirs.split(':').next().unwrap_or_default().into(), name));
    }
    let dir = set("XDG_STATE_HOME").map(|(dir, name)| (PathBuf::from(dir), name));
    // A relative path is to be ignored, says the XDG base directory specification.
    if let Some((dir, name)) = dir.filter(|(dir, _)| dir.is_absolute()) {
        return Some((dir.join("truenorth"), name));
    }
    set("HOME").map(|(home, name)| (PathBuf::from(home).join(".local/state/truenorth"), name))
}

/// What names the ledger's folder, behind a message about it; nothing where it was typed.
pub(super) fn state_dir_origin() -> String {
    match origin::of(STATE_DIR) {
        None if !origin::is_typed(STATE_DIR) => {
            usual_state_dir(&environment).map(|(_, variable)| format!(" ({variable})")).unwrap_or_default()
        }
        _ => origin::behind(STATE_DIR),
    }
}

const STATE_DIR: &str = "state-dir";

/// Where the API is. A bad URL is a matter of configuration (78), as it comes from a file or a variable as a rule.
pub(super) fn api_url(args: &UrlArgs) -> anyhow::Result<ApiUrl> {
    let Some(given) = &args.api_url else { return Ok(ApiUrl::default()) };
    given
        .parse()
        .map_err(|error| super::misconfigured(format!("the API's URL ({}) {error}", origin::named("api-url")), None))
}

/// What calls and their record need.
pub(super) struct Access {
    pub(super) api_url: ApiUrl,
    pub(super) tokens: TokenSource,
    pub(super) state_dir: PathBuf,
}

/// Where the API is, what opens it, and where the ledger is; or all that is wrong in that.
pub(super) fn access(connect: &ConnectArgs, state: &StateArgs, variable: Variable<'_>) -> anyhow::Result<Access> {
    let readable = token_source(&connect.token, variable).and_then(|tokens| match tokens.read() {
        Ok(_) => Ok(tokens),
        Err(error) => Err(token_error(&error)),
    });
    match (api_url(&connect.url), readable, state_dir(state, variable)) {
        (Ok(api_url), Ok(tokens), Ok(state_dir)) => Ok(Access { api_url, tokens, state_dir }),
        (api_url, tokens, state_dir) => {
            Err(Several([api_url.err(), tokens.err(), state_dir.err()].into_iter().flatten().collect()).into())
        }
    }
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

/// The same of the token that the environment names.
pub(super) fn finds_token_at_hand() -> impl Fn(&str) -> bool + Send + Sync + use<> {
    let token_file = environment("TRUENORTH_TOKEN_FILE").filter(|file| !file.is_empty()).map(PathBuf::from);
    finds_token(&TokenArgs { token_file }, &environment)
}

/// No token: exit 78. Says what names its file, where that was not typed.
pub(super) fn token_error(error: &TokenReadError) -> anyhow::Error {
    let named = || origin::of("token-file").map(|origin| format!("{origin} names this file"));
    let hint = error.hint().map(str::to_owned).or_else(named);
    super::misconfigured(chain(error), hint.as_deref())
}

/// No client: exit 78.
pub(super) fn client_error(error: &BuildError) -> anyhow::Error {
    super::misconfigured(chain(error), error.hint())
}

/// A client of the API with its token.
pub(super) fn client(args: &ConnectArgs, variable: Variable<'_>) -> anyhow::Result<Client> {
    let source = token_source(&args.token, variable);
    let read = source.and_then(|source| source.read().map_err(|error| token_error(&error)));
    let (api_url, read) = match (api_url(&args.url), read) {
        (Ok(api_url), Ok(read)) => (api_url, read),
        (api_url, read) => return Err(Several([api_url.err(), read.err()].into_iter().flatten().collect()).into()),
    };
    let settings = Settings::new(api_url, args.request_timeout);
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
