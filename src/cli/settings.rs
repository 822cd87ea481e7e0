//! Settings: what the arguments and the environment mean together. The environment comes as a function, so that tests
//! never touch the real one.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::OnceLock;

use super::Several;
use super::args::{ConnectArgs, StateArgs, TokenArgs, UrlArgs};
use crate::error::chain;
use crate::northflank::{ApiUrl, BuildError, Client, Settings, TokenReadError, TokenSource};
use crate::text::printable;

/// Names the token's file.
const TOKEN_FILE: &str = "TRUENORTH_TOKEN_FILE";

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
pub(super) fn api_url(args: &UrlArgs, variable: Variable<'_>) -> anyhow::Result<ApiUrl> {
    let Some(given) = &args.api_url else { return Ok(ApiUrl::default()) };
    given.parse().map_err(|error| {
        let from = named_by(given.as_ref(), "--api-url", "NORTHFLANK_API_URL", variable);
        super::misconfigured(format!("the API's URL ({from}) {error}"), None)
    })
}

/// What the config file says, for messages about values: the place of each option's value.
static CONFIGURED: OnceLock<Vec<Configured>> = OnceLock::new();

/// A value of the config file.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) option: String,
    pub(super) value: String,
    /// File and line.
    pub(super) place: String,
}

/// Keeps what the config file says, once for the process, as its environment is one.
pub(super) fn configure(values: Vec<Configured>) {
    // Whoever came first is the config file of this process.
    let _ = CONFIGURED.set(values);
}

/// The option, the variable or the line of the config file that a value comes from.
pub(super) fn named_by(value: &OsStr, option: &str, name: &str, variable: Variable<'_>) -> String {
    if variable(name).is_some_and(|set| set == value) {
        return name.to_owned();
    }
    let long = option.trim_start_matches('-');
    let of_file = |configured: &&Configured| configured.option == long && value == OsStr::new(&configured.value);
    match CONFIGURED.get().and_then(|values| values.iter().find(of_file)) {
        Some(Configured { place, .. }) => format!("{place}: {long}"),
        None => option.to_owned(),
    }
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
        Err(error) => Err(token_error(&error, Some((&connect.token, variable)))),
    });
    match (api_url(&connect.url, variable), readable, state_dir(state, variable)) {
        (Ok(api_url), Ok(tokens), Ok(state_dir)) => Ok(Access { api_url, tokens, state_dir }),
        (api_url, tokens, state_dir) => {
            Err(Several([api_url.err(), tokens.err(), state_dir.err()].into_iter().flatten().collect()).into())
        }
    }
}

/// Where the token comes from.
pub(super) fn token_source(args: &TokenArgs, variable: Variable<'_>) -> anyhow::Result<TokenSource> {
    TokenSource::choose(args.token_file.as_deref(), variable)
        .map_err(|error| token_error(&error, Some((args, variable))))
}

/// Tells whether a text holds the token, for commands that do not need one: where none can be read, nothing is found.
pub(super) fn finds_token(args: &TokenArgs, variable: Variable<'_>) -> impl Fn(&str) -> bool + Send + Sync + use<> {
    let source = TokenSource::choose(args.token_file.as_deref(), variable);
    let token = source.and_then(|source| source.read()).ok().map(|read| read.token);
    move |text| token.as_ref().is_some_and(|token| token.is_in(text))
}

/// The same of the token that the environment names.
pub(super) fn finds_token_at_hand() -> impl Fn(&str) -> bool + Send + Sync + use<> {
    let token_file = environment(TOKEN_FILE).filter(|file| !file.is_empty()).map(PathBuf::from);
    finds_token(&TokenArgs { token_file }, &environment)
}

/// No token: exit 78. Says which option or variable named its file, where that is known.
pub(super) fn token_error(error: &TokenReadError, named: Option<(&TokenArgs, Variable<'_>)>) -> anyhow::Error {
    const OPTION: &str = "--token-file";
    let from = named.and_then(|(args, variable)| {
        let file = args.token_file.as_ref()?;
        Some(named_by(file.as_ref(), OPTION, TOKEN_FILE, variable)).filter(|from| from != OPTION)
    });
    let hint = error.hint().map(str::to_owned).or_else(|| Some(format!("{} names this file", from?)));
    super::misconfigured(chain(error), hint.as_deref())
}

/// No client: exit 78.
pub(super) fn client_error(error: &BuildError) -> anyhow::Error {
    super::misconfigured(chain(error), error.hint())
}

/// A client of the API with its token.
pub(super) fn client(args: &ConnectArgs, variable: Variable<'_>) -> anyhow::Result<Client> {
    let source = token_source(&args.token, variable);
    let read =
        source.and_then(|source| source.read().map_err(|error| token_error(&error, Some((&args.token, variable)))));
    let (api_url, read) = match (api_url(&args.url, variable), read) {
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
