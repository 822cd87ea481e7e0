//! What is on the way to the API, and whose the token is.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::rights;
use crate::cli::args::{ApiArgs, ConnectArgs};
use crate::cli::checks::Check;
use crate::cli::settings;
use crate::cli::target::Reading;
use crate::error::chain;
use crate::model::{ApiPlace, ServiceKey};
use crate::northflank::{
    Account, ApiUrl, BuildError, CallError, Client, Disposition, NEW_TOKEN, Settings, Token, TokenKind, TokenSource,
};
use crate::runner::ends_soon;
use crate::text::short;

/// How far the clocks may be apart before that is told, and before it is a fault.
const ASKEW: SignedDuration = SignedDuration::from_secs(10);
const WRONG: SignedDuration = SignedDuration::from_mins(5);

/// What was found, and the place that calls would go to, as far as that is known.
type Seen = (Vec<Check>, Option<ApiPlace>);

/// Everything about the API.
pub(super) async fn look(args: &ApiArgs, services: &[ServiceKey]) -> anyhow::Result<Seen> {
    if args.sandbox { in_sandbox(args, services).await } else { Ok(connected(&args.connect, services).await) }
}

/// A rehearsal: the sandbox in this process, which takes any token and has every service.
async fn in_sandbox(args: &ApiArgs, services: &[ServiceKey]) -> anyhow::Result<Seen> {
    let reading = Reading::of(args, None).await?;
    let (checks, _) = ask(reading.client(), "the sandbox", services).await;
    reading.end().await;
    Ok((checks, Some(ApiPlace::new(ApiPlace::SANDBOX))))
}

async fn connected(args: &ConnectArgs, services: &[ServiceKey]) -> Seen {
    let mut checks = Vec::new();
    let url = settings::api_url(&args.url);
    let token = token(args, &mut checks);
    let url = match url {
        Ok(url) => url,
        Err(error) => {
            checks.insert(0, Check::of_error("api", &error));
            return (checks, None);
        }
    };
    let place = ApiPlace::new(&url.to_string());
    checks.push(certificates(&url));
    let Some((token, from)) = token else {
        let message = format!("{url} was not asked: there is no token");
        checks.insert(0, Check::warning("api", message, "fix the token, and look again"));
        return (checks, Some(place));
    };
    let client = match Client::new(Settings::new(url, args.request_timeout), token) {
        Ok(client) => client,
        Err(error) => {
            let name = if matches!(error, BuildError::Tls { .. }) { "certificates" } else { "api" };
            checks.retain(|check| check.name != name);
            checks.insert(0, Check::fault(name, chain(&error), error.hint().map(str::to_owned)));
            return (checks, Some(place));
        }
    };
    let (mut found, account) = ask(&client, &from, services).await;
    found.append(&mut checks);
    let account = account.map(|account| account.name().into());
    (found, Some(ApiPlace { account, ..place }))
}

/// Asks the API whose the token is, and what it opens.
async fn ask(client: &Client, from: &str, services: &[ServiceKey]) -> (Vec<Check>, Option<Account>) {
    let asked = client.account().await;
    let (server_time, elapsed) = match &asked {
        Ok(answered) => (answered.server_time, answered.elapsed),
        Err(error) => (error.server_time(), error.elapsed()),
    };
    let (mut found, account) = answered(client, asked, elapsed, from);
    found.extend(server_time.map(|theirs| clock(theirs, Timestamp::now(), elapsed)));
    let is_open = found.iter().all(|check| check.verdict != super::Verdict::Fault);
    if is_open {
        found.extend(rights::look(client, services, account.as_ref()).await);
    }
    (found, account)
}

/// The token and where it is from; nothing where none can be read, which is told.
fn token(args: &ConnectArgs, checks: &mut Vec<Check>) -> Option<(Token, String)> {
    let source = match settings::token_source(&args.token, &settings::environment) {
        Ok(source) => source,
        Err(error) => {
            checks.push(Check::of_error("token", &error));
            return None;
        }
    };
    let from = match &source {
        TokenSource::File(path) => path.display().to_string(),
        TokenSource::Environment(_) => TokenSource::VARIABLE.to_owned(),
    };
    match source.read() {
        Ok(read) => {
            let warning = read.warning.map(|warning| warning.to_string());
            checks.extend(warning.map(|text| Check::warning("token file", text, "only truenorth has to read it")));
            Some((read.token, from))
        }
        Err(error) => {
            let error = settings::token_error(&error);
            checks.push(Check::of_error("token", &error));
            None
        }
    }
}

/// Whether the API answers, and what it says of the token.
fn answered(
    client: &Client,
    asked: Result<crate::northflank::Answered<Option<Account>>, CallError>,
    elapsed: Duration,
    from: &str,
) -> (Vec<Check>, Option<Account>) {
    let took = short::took(SignedDuration::try_from(elapsed).unwrap_or_default());
    let answers = Check::ok("api", format!("{} answers ({took})", client.way()));
    match asked {
        Ok(answered) => {
            let token = match &answered.value {
                Some(account) => belongs(account, from, Timestamp::now()),
                None => Check::ok("token", format!("from {from}; this API does not say whose it is")),
            };
            (vec![answers, token], answered.value)
        }
        Err(error) => {
            let told = match error.disposition() {
                Disposition::Denied => {
                    vec![answers, Check::fault("token", format!("{from}: {error}"), Some(NEW_TOKEN.to_owned()))]
                }
                Disposition::Rejected | Disposition::Forbidden => {
                    vec![answers, Check::ok("token", format!("from {from}; the API does not say whose it is: {error}"))]
                }
                Disposition::Limited { wait, .. } => {
                    let hint = format!("look again in {}", short::wait(wait));
                    vec![answers, Check::fault("rate limit", error.to_string(), Some(hint))]
                }
                Disposition::Transient { .. } => {
                    let hint = "see your network, the proxy (HTTPS_PROXY, NO_PROXY), SSL_CERT_FILE where a proxy signs \
                                its own certificates, and Northflank's status page";
                    vec![Check::fault("api", chain(&error), Some(hint.to_owned()))]
                }
            };
            (told, None)
        }
    }
}

/// Whose the token is, and until when.
fn belongs(account: &Account, from: &str, now: Timestamp) -> Check {
    let whose = format!("of {}, from {from}", account.name());
    match account.expires_at {
        Some(at) if at <= now => {
            Check::fault("token", format!("{whose}; ended {}", short::time(at)), Some(NEW_TOKEN.to_owned()))
        }
        Some(at) if ends_soon(at, now) => {
            Check::warning("token", format!("{whose}; ends {}", short::time(at)), NEW_TOKEN)
        }
        Some(at) => Check::ok("token", format!("{whose}; ends {}", short::time(at))),
        None if account.token_kind == Some(TokenKind::Session) => Check::warning(
            "token",
            format!("{whose}; it is that of a person who is logged in"),
            "make an API token for truenorth: this one ends with the login",
        ),
        None => Check::ok("token", format!("{whose}; it does not end")),
    }
}

/// This machine's clock beside that of the API, which tells whole seconds.
fn clock(theirs: Timestamp, ours: Timestamp, elapsed: Duration) -> Check {
    let apart = ours.duration_since(theirs);
    let unsure = SignedDuration::from_secs(1) + SignedDuration::try_from(elapsed).unwrap_or_default();
    let apart = if apart.is_negative() { apart } else { (apart - unsure).max(SignedDuration::ZERO) };
    let way = if apart.is_negative() { "behind" } else { "ahead of" };
    let told = format!("{} {way} the API's", short::took(apart.abs()));
    let hint = "set it by NTP: tokens, freezes and certificates go by the time";
    match apart.abs() {
        wrong if wrong > WRONG => Check::fault("clock", told, Some(hint.to_owned())),
        askew if askew > ASKEW => Check::warning("clock", told, hint),
        _ => Check::ok("clock", "agrees with the API's"),
    }
}

/// Whose certificates are trusted.
fn certificates(url: &ApiUrl) -> Check {
    const NAME: &str = "certificates";
    if !url.is_https() {
        return Check::ok(NAME, "not needed: plain HTTP on loopback");
    }
    let set = |name| settings::environment(name).filter(|value: &OsString| !value.is_empty()).map(PathBuf::from);
    let missing = |variable: &str, path: PathBuf, what: &str| {
        let hint = format!("name {what} in {variable}, or unset it: then the system's are trusted");
        Check::fault(NAME, format!("{variable} names {}, which is not {what}", path.display()), Some(hint))
    };
    match (set("SSL_CERT_FILE"), set("SSL_CERT_DIR")) {
        (Some(file), _) if !file.is_file() => missing("SSL_CERT_FILE", file, "a file of certificates"),
        (_, Some(dir)) if !dir.is_dir() => missing("SSL_CERT_DIR", dir, "a folder of certificates"),
        (Some(path), _) => Check::ok(NAME, format!("those of SSL_CERT_FILE, {}", path.display())),
        (None, Some(path)) => Check::ok(NAME, format!("those of SSL_CERT_DIR, {}", path.display())),
        (None, None) => Check::ok(NAME, "the system's"),
    }
}
