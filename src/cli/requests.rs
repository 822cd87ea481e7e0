//! `truenorth retry`, `freeze` and `thaw`: what people ask of the daemon, or of the next pass, through the ledger.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _};

use super::args::{FolderArgs, StateArgs};
use super::beside::{BesideArgs, folder_beside};
use super::exit::Exit;
use super::{
    Failure, ledger_error, misconfigured, names, origin, print, read_error, refused, services, settings, status,
    way_to_ledger,
};
use crate::ledger::{PersonRequest, Reader, RequestKind, ask};
use crate::model::{ApiPlace, Desired, Known, ServiceKey, Suspend};
use crate::northflank::ApiUrl;
use crate::pass::Observation;
use crate::plan::{Freeze, Windows};
use crate::text::{listed, printable, short};
use crate::views::{Finding, Recorded};
use crate::web::Whereabouts;

/// The longest freeze: what is meant for longer belongs in the manifests, as `policy.suspend`.
const LONGEST_DAYS: i64 = 366;

#[derive(Args, Debug)]
pub(super) struct RetryArgs {
    /// Which services; all where none is named
    #[arg(add = ArgValueCompleter::new(names::services), value_name = "SERVICE")]
    service: Vec<String>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", value_parser = text)]
    reason: Option<String>,
    #[command(flatten)]
    asks: AskArgs,
}

#[derive(Args, Debug)]
pub(super) struct FreezeArgs {
    /// Which services
    #[arg(add = ArgValueCompleter::new(names::services), value_name = "SERVICE", required_unless_present = "all", conflicts_with = "all")]
    service: Vec<String>,
    /// All services, also those that are new
    #[arg(long)]
    all: bool,
    /// Why, for everybody who wonders
    #[arg(long, value_name = "TEXT", value_parser = text)]
    reason: String,
    /// When it ends: a time such as 2026-12-24T18:00:00+01:00, `2026-12-24 18:00` by this machine's clock, or 6h, 2d
    #[arg(long, value_name = "TIME")]
    until: String,
    #[command(flatten)]
    asks: AskArgs,
}

#[derive(Args, Debug)]
pub(super) struct ThawArgs {
    /// Which services
    #[arg(add = ArgValueCompleter::new(names::services), value_name = "SERVICE", required_unless_present = "all", conflicts_with = "all")]
    service: Vec<String>,
    /// Everything that is frozen
    #[arg(long)]
    all: bool,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", value_parser = text)]
    reason: Option<String>,
    #[command(flatten)]
    asks: AskArgs,
}

#[derive(Args, Debug)]
pub(super) struct ReleaseArgs {
    /// Which services
    #[arg(add = ArgValueCompleter::new(names::services), value_name = "SERVICE", required = true)]
    service: Vec<String>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", value_parser = text)]
    reason: Option<String>,
    #[command(flatten)]
    asks: AskArgs,
}

/// Who asks, and where.
#[derive(Args, Debug)]
pub(super) struct AskArgs {
    /// Who asks, for the history; the user of this machine if not said
    #[arg(long, value_name = "NAME", env = "TRUENORTH_BY", value_parser = text)]
    by: Option<String>,
    #[command(flatten)]
    folder: FolderArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    beside: BesideArgs,
    /// The ledger's folder, and whose it is: a daemon is asked, and a note says so, only once.
    #[arg(skip)]
    found: OnceLock<(PathBuf, Option<Whereabouts>)>,
    /// What the folder and the ledger say, read once.
    #[arg(skip)]
    observation: OnceLock<Observation>,
}

/// A short text for people.
pub(super) fn text(given: &str) -> Result<String, String> {
    const LONGEST: usize = 200;
    match given.trim() {
        "" => Err("must not be empty".to_owned()),
        long if long.chars().count() > LONGEST => Err(format!("must be at most {LONGEST} characters")),
        text => Ok(text.to_owned()),
    }
}

pub(super) fn retry(args: &RetryArgs) -> anyhow::Result<Exit> {
    let targets = args.asks.targets(&args.service)?;
    args.asks.wait_for_a_retry(&targets)?;
    let heard = args.asks.ask(RequestKind::Retry, &targets, args.reason.as_deref(), None)?;
    let of = named(&targets);
    print::text(&format!("retry of {of}: {}\n", who_does(heard, "tries it again")))?;
    Ok(Exit::Converged)
}

pub(super) fn freeze(args: &FreezeArgs) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let until = until(&args.until, now).map_err(|(message, hint)| Failure {
        message: format!("{} {} {message}", origin::named("until"), printable(&args.until)),
        hint: Some(hint),
        exit: Exit::Usage,
    })?;
    let targets = args.asks.targets(&args.service)?;
    let heard = args.asks.ask(RequestKind::Freeze, &targets, Some(&args.reason), Some(until))?;
    print::text(&format!("{} frozen until {}; {}\n", named(&targets), short::time(until), taken(heard)))?;
    Ok(Exit::Converged)
}

pub(super) fn thaw(args: &ThawArgs) -> anyhow::Result<Exit> {
    let targets = args.asks.targets(&args.service)?;
    let frozen = args.asks.freezes()?;
    for target in &targets {
        let is_meant = |freeze: &Freeze| target.is_none() || freeze.service == *target;
        if !frozen.iter().any(is_meant) {
            let hint = match frozen.iter().any(|freeze| freeze.service.is_none()) {
                true => "all services are frozen together: `truenorth thaw --all` ends that",
                false => "`truenorth status` shows what is frozen",
            };
            let of = target.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let not = if target.is_some() { " not" } else { "" };
            return Err(refused(format!("{of} is{not} frozen"), hint).into());
        }
    }
    let heard = args.asks.ask(RequestKind::Thaw, &targets, args.reason.as_deref(), None)?;
    print::text(&format!("{} thawed; {}\n", named(&targets), taken(heard)))?;
    Ok(Exit::Converged)
}

pub(super) fn release(args: &ReleaseArgs) -> anyhow::Result<Exit> {
    let targets = args.asks.targets(&args.service)?;
    let reader = args.asks.ledger()?;
    let mut quarantines = reader.quarantines_as_asked().map_err(read_error)?;
    let (rollouts, known) = (reader.rollouts().map_err(read_error)?, reader.known().map_err(read_error)?);
    drop(reader);
    let mut follows = BTreeMap::new();
    for target in targets.iter().flatten() {
        let message = match quarantines.remove(target) {
            Some(quarantine) if !quarantine.released => {
                let has_it = known.get(target).and_then(Known::digest) == Some(quarantine.digest);
                let then = match quarantine.let_out(rollouts.get(target)) {
                    Some(_) => Then::SentOnceMore,
                    None if has_it => Then::Kept,
                    None => Then::Sent,
                };
                follows.insert(target.clone(), then);
                continue;
            }
            Some(_) => format!("{target} is released already"),
            None => format!("{target} is not quarantined"),
        };
        let hint = format!("`truenorth why {target}` says what it waits for");
        return Err(refused(message, hint).into());
    }
    let heard = args.asks.ask(RequestKind::Release, &targets, args.reason.as_deref(), None)?;
    let closed = args.asks.closed()?;
    for (key, then) in follows {
        let what = match (then, closed.why(&key)) {
            (Then::Kept, _) => "it has what its manifest says, and nothing is sent".to_owned(),
            (Then::SentOnceMore, None) => who_does(heard, "sends it once more"),
            (Then::SentOnceMore, Some(why)) => format!("{why}; it is sent once more after that"),
            (Then::Sent, None) => who_does(heard, "sends what its manifest says"),
            (Then::Sent, Some(why)) => format!("{why}; what its manifest says is sent after that"),
        };
        print::text(&format!("{key} released: {what}\n"))?;
    }
    Ok(Exit::Converged)
}

/// What follows from a release.
enum Then {
    /// Its rollout failed.
    SentOnceMore,
    /// A person took it back, and it has something else.
    Sent,
    /// A person took it back, and nothing else was sent yet.
    Kept,
}

fn taken(heard: bool) -> &'static str {
    if heard { "the running truenorth knows" } else { "no truenorth runs; the next pass heeds it" }
}

/// Who does what was asked for.
pub(super) fn who_does(heard: bool, does: &str) -> String {
    if heard { format!("the running truenorth {does}") } else { format!("no truenorth runs; the next pass {does}") }
}

pub(super) fn named(targets: &[Option<ServiceKey>]) -> String {
    let named: Vec<String> = targets.iter().flatten().map(ToString::to_string).collect();
    if named.is_empty() { "all services".to_owned() } else { listed(&named) }
}

impl AskArgs {
    /// The services that are meant; one `None` for all.
    pub(super) fn targets(&self, names: &[String]) -> anyhow::Result<Vec<Option<ServiceKey>>> {
        let called = self.ledger()?.services().map_err(read_error)?;
        if names.is_empty() {
            return Ok(vec![None]);
        }
        let observed = self.observation()?.observed();
        let known: Vec<&ServiceKey> =
            observed.snapshot.desired.keys().chain(observed.snapshot.claimed()).chain(&called).collect();
        let meant = |name: &String| {
            services::meant(name, known.iter().copied(), "neither the folder nor the ledger knows a").map(Some)
        };
        Ok(names.iter().map(meant).collect::<Result<_, Failure>>()?)
    }

    /// Writes a request for each target. Says whether a running truenorth has the ledger.
    pub(super) fn ask(
        &self,
        kind: RequestKind,
        targets: &[Option<ServiceKey>],
        reason: Option<&str>,
        until: Option<Timestamp>,
    ) -> anyhow::Result<bool> {
        let (by, at) = (self.by(), Timestamp::now());
        let request = |target: &Option<ServiceKey>| {
            let (target, reason, by) = (target.clone(), reason.map(str::to_owned), by.clone());
            PersonRequest { kind, target, reason, by, at, until, way_back: None }
        };
        let requests: Vec<PersonRequest> = targets.iter().map(request).collect();
        self.write(&requests, at)
    }

    /// Writes requests. Says whether a running truenorth has the ledger.
    pub(super) fn write(&self, requests: &[PersonRequest], at: Timestamp) -> anyhow::Result<bool> {
        // Only where the ledger belongs nowhere yet; then it goes on to belong nowhere.
        let place = ApiPlace::new(&ApiUrl::default().to_string());
        ask(self.state_dir()?, requests, place, at).map_err(|error| ledger_error(&error))
    }

    /// What is frozen now.
    fn freezes(&self) -> anyhow::Result<Vec<Freeze>> {
        let freezes = self.ledger()?.freezes().map_err(read_error)?;
        let now = Timestamp::now();
        Ok(freezes.into_iter().filter(|freeze| freeze.holds_at(now)).collect())
    }

    /// What keeps services from being updated now, because people want it so.
    pub(super) fn closed(&self) -> anyhow::Result<Closed<'_>> {
        let desired = &self.observation()?.snapshot.desired;
        Ok(Closed { freezes: self.freezes()?, desired, now: Timestamp::now() })
    }

    /// Refuses a retry of services of which nothing waits for one.
    fn wait_for_a_retry(&self, targets: &[Option<ServiceKey>]) -> anyhow::Result<()> {
        if targets.iter().all(Option::is_none) {
            return Ok(());
        }
        let (observed, reader) = (self.observation()?.observed(), self.ledger()?);
        let recorded = Recorded::read(Some(&reader), Timestamp::now()).map_err(read_error)?;
        let quarantines = reader.quarantines_as_asked().map_err(read_error)?;
        for key in targets.iter().flatten() {
            if Finding::of(key, observed, &recorded).waits_for_calls() {
                continue;
            }
            let hint = match quarantines.get(key) {
                Some(quarantine) if !quarantine.released => {
                    format!("`truenorth release {key}` sends once more what its manifest says")
                }
                _ => format!("`truenorth why {key}` says how it stands"),
            };
            let message = format!("nothing of {key} waits for a retry");
            return Err(refused(message, hint).into());
        }
        Ok(())
    }

    /// Who asks.
    pub(super) fn by(&self) -> String {
        self.by.clone().unwrap_or_else(user)
    }

    /// The ledger. Where there is none nobody would heed what is asked, so none is made for it.
    pub(super) fn ledger(&self) -> anyhow::Result<Reader> {
        let dir = self.state_dir()?;
        let reader = Reader::open(dir).map_err(|error| ledger_error(&error))?;
        reader.ok_or_else(|| {
            let message = format!("there is no ledger at {}", printable(&dir.to_string_lossy()));
            misconfigured(message, Some(way_to_ledger(dir)))
        })
    }

    pub(super) fn state_dir(&self) -> anyhow::Result<&Path> {
        Ok(&self.found()?.0)
    }

    /// What the folder and the ledger say. Read once, however often it is asked for.
    pub(super) fn observation(&self) -> anyhow::Result<&Observation> {
        match self.observation.get() {
            Some(observation) => Ok(observation),
            None => {
                let mut folder = folder_beside(&self.folder, self.found()?.1.as_ref());
                let (observation, _) = status::observe(&mut folder, self.state_dir()?, &Windows::default())?;
                Ok(self.observation.get_or_init(|| observation))
            }
        }
    }

    fn found(&self) -> anyhow::Result<&(PathBuf, Option<Whereabouts>)> {
        match self.found.get() {
            Some(found) => Ok(found),
            None => {
                let found = self.beside.state_dir_to_ask(&self.state)?;
                Ok(self.found.get_or_init(|| found))
            }
        }
    }
}

/// What people closed.
pub(super) struct Closed<'a> {
    freezes: Vec<Freeze>,
    desired: &'a BTreeMap<ServiceKey, Desired>,
    now: Timestamp,
}

impl Closed<'_> {
    /// Why a service gets no update now, where people want it so.
    pub(super) fn why(&self, key: &ServiceKey) -> Option<String> {
        let until = |until: Option<Timestamp>| until.map(|until| format!(" until {}", short::time(until)));
        let desired = self.desired.get(key);
        if let Some(Suspend::Yes { until: ends, .. }) =
            desired.map(|desired| &desired.policy.suspend).filter(|suspend| suspend.holds(self.now))
        {
            return Some(format!("its manifest suspends it{}", until(*ends).unwrap_or_default()));
        }
        let freeze = self.freezes.iter().find(|freeze| freeze.service.as_ref().is_none_or(|service| service == key))?;
        Some(format!("it is frozen{}", until(freeze.until).unwrap_or_default()))
    }
}

/// The user of this machine, as far as the environment says.
fn user() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().filter_map(settings::environment);
    let named = named.filter_map(|name| name.into_string().ok()).find_map(|name| text(&name).ok());
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// When something ends: a time, or how long it lasts. A time without a zone goes by this machine's clock.
fn until(given: &str, now: Timestamp) -> Result<Timestamp, (String, String)> {
    let refused = |message: &str| {
        let hint = "give a time to come, such as 6h, 2d, `2026-12-24 18:00` or 2026-12-24T18:00:00Z";
        (message.to_owned(), hint.to_owned())
    };
    let given = given.trim();
    let local = |time: DateTime| TimeZone::system().to_timestamp(time).ok();
    let lasts = |span: Span| now.to_zoned_datetime(TimeZone::UTC).checked_add(span).ok().map(|zoned| zoned.timestamp());
    let until = given
        .parse::<Timestamp>()
        .ok()
        .or_else(|| given.parse::<DateTime>().ok().and_then(local))
        .or_else(|| given.parse::<Date>().ok().and_then(|date| local(date.at(0, 0, 0, 0))))
        .or_else(|| given.parse::<Span>().ok().and_then(lasts))
        .ok_or_else(|| refused("is not a time, and not how long"))?;
    let last = lasts(LONGEST_DAYS.days()).unwrap_or(Timestamp::MAX);
    match until {
        past if past <= now => Err(refused("is over already")),
        late if late > last => Err((
            format!("is more than {LONGEST_DAYS} days away"),
            "what is meant to stay belongs in the manifest: policy.suspend".to_owned(),
        )),
        until => Ok(until),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_to_come_or_a_length() {
        let now: Timestamp = "2026-11-25T10:00:00Z".parse().unwrap();
        for (given, wanted) in [
            ("6h", Some("2026-11-25T16:00:00Z")),
            ("2d", Some("2026-11-27T10:00:00Z")),
            ("1h30m", Some("2026-11-25T11:30:00Z")),
            ("2026-12-24T18:00:00+01:00", Some("2026-12-24T17:00:00Z")),
            ("2026-11-25T10:00:00Z", None),
            ("-2h", None),
            ("0s", None),
            ("367d", None),
            ("soon", None),
            ("", None),
            ("6", None),
        ] {
            let ends = until(given, now).ok().map(|until| until.to_string());
            assert_eq!(ends.as_deref(), wanted, "{given}");
        }
        // By this machine's clock, whichever zone it has.
        assert!(until("2026-12-24 18:00", now).is_ok());
        assert!(until("2026-12-24", now).is_ok());
    }
}
