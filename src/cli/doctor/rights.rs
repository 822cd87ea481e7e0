//! Whether the token may do what the manifests need, found by reads alone. No read tells whether an update would be let
//! through; what the API says of the token and its role may.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::checks::Check;
use crate::model::{Id, ServiceKey, ServiceKind, project_path};
use crate::northflank::{Account, CallError, Client, Disposition, Listed};
use crate::text::{counted, listed};

/// Most projects that are asked for, and most pages of services of each: a call for each page.
const MOST_PROJECTS: usize = 20;
const MOST_PAGES: usize = 10;
/// How many services are read that no list has.
const MOST_READS: usize = 5;

/// What the API's error pages call the permissions that truenorth needs.
const READ: &str = "give the token's role Project > Services > General > Read";
const UPDATE: &str = "give the token's role Project > Services > Deployment > Update Deployment";

type Project<'k> = (Option<&'k Id>, &'k Id);

pub(super) async fn look(client: &Client, services: &[ServiceKey], account: Option<&Account>) -> Vec<Check> {
    let mut projects: BTreeMap<Project<'_>, Vec<&ServiceKey>> = BTreeMap::new();
    for service in services {
        projects.entry((service.team.as_ref(), &service.project)).or_default().push(service);
    }
    let mut checks: Vec<Check> = closed(&projects, account).into_iter().collect();
    let mut read = Vec::new();
    for (project, wanted) in projects.iter().take(MOST_PROJECTS) {
        match of_project(client, *project, wanted).await {
            Ok(()) => read.push(named(*project)),
            Err(check) => checks.push(check),
        }
    }
    if !read.is_empty() {
        let left = projects.len().saturating_sub(MOST_PROJECTS);
        let left = if left > 0 { format!("; {} not looked at", counted(left, "more project")) } else { String::new() };
        checks.push(Check::ok("read", format!("may read {}, and its services exist{left}", listed(&read))));
    }
    checks.extend(account.and_then(update));
    checks
}

/// Projects that the token does not open, by the API's word.
fn closed(projects: &BTreeMap<Project<'_>, Vec<&ServiceKey>>, account: Option<&Account>) -> Option<Check> {
    let restriction = account?.projects.as_ref()?;
    let closed = projects.keys().filter(|(_, project)| !restriction.admits(project.as_str()));
    let closed: Vec<String> = closed.map(|project| named(*project)).collect();
    if closed.is_empty() {
        return None;
    }
    let message = format!("the token does not open {}", listed(&closed));
    Some(Check::fault("projects", message, Some("open them to the token's role in Northflank".to_owned())))
}

/// Whether the services of a project can be read, and exist.
async fn of_project(client: &Client, project: Project<'_>, wanted: &[&ServiceKey]) -> Result<(), Check> {
    let refused = |error: CallError, what: String| {
        let hint = match error.disposition() {
            Disposition::Forbidden => Some(READ.to_owned()),
            Disposition::Rejected => Some("is it the project's id, and does its team stand in teamId?".to_owned()),
            Disposition::Denied | Disposition::Limited { .. } | Disposition::Transient { .. } => None,
        };
        Check::fault("read", format!("cannot {what}: {error}"), hint)
    };
    let Some(found) =
        list(client, project).await.map_err(|error| refused(error, format!("list {}", named(project))))?
    else {
        return Ok(());
    };
    let kinds: BTreeMap<&str, Option<ServiceKind>> =
        found.iter().map(|listed| (listed.id.as_str(), listed.kind)).collect();
    let unlisted = wanted.iter().filter(|key| !kinds.contains_key(key.service.as_str()));
    let missing =
        missing(client, unlisted.copied()).await.map_err(|(key, error)| refused(error, format!("read {key}")))?;
    if !missing.is_empty() {
        let hint = "truenorth creates no services: make them in Northflank, or fix serviceId".to_owned();
        return Err(Check::fault("services", format!("not in Northflank: {}", listed(&missing)), Some(hint)));
    }
    let build = |key: &&&ServiceKey| kinds.get(key.service.as_str()) == Some(&Some(ServiceKind::Build));
    let builds: Vec<_> = wanted.iter().filter(build).collect();
    if !builds.is_empty() {
        let message = format!("of type build, which deploys nothing: {}", listed(&builds));
        return Err(Check::fault("services", message, Some("remove their manifests".to_owned())));
    }
    match wanted.first() {
        Some(key) => {
            let read = client.read_service(key).await;
            read.map(drop).map_err(|error| refused(error, format!("read {key}")))
        }
        None => Ok(()),
    }
}

/// Which of the services that no list has are not there: a list may be older than a service. After some that are missing
/// the others are taken to be so.
async fn missing<'k>(
    client: &Client,
    unlisted: impl Iterator<Item = &'k ServiceKey>,
) -> Result<Vec<&'k ServiceKey>, (&'k ServiceKey, CallError)> {
    let mut missing = Vec::new();
    for key in unlisted {
        if missing.len() < MOST_READS {
            match client.read_service(key).await {
                Ok(_) => continue,
                Err(error) if error.is_not_served() => {}
                Err(error) => return Err((key, error)),
            }
        }
        missing.push(key);
    }
    Ok(missing)
}

/// All services of a project; nothing where there are too many to ask for.
async fn list(client: &Client, (team, project): Project<'_>) -> Result<Option<Vec<Listed>>, CallError> {
    let (mut found, mut cursor, mut seen) = (Vec::new(), None::<String>, BTreeSet::new());
    for _ in 0..MOST_PAGES {
        let page = client.list_services(team, project, cursor.as_deref()).await?.value;
        found.extend(page.services);
        match page.next {
            // A page that leads to itself would go on for ever.
            Some(next) if seen.insert(next.clone()) => cursor = Some(next),
            _ => return Ok(Some(found)),
        }
    }
    Ok(None)
}

fn named((team, project): Project<'_>) -> String {
    project_path(team, project)
}

/// Whether the role lets updates through. How the API writes a permission is not documented, so that a list in which
/// none looks like it is a warning, and no more.
fn update(account: &Account) -> Option<Check> {
    let permissions = account.permissions.as_ref()?;
    let may = permissions.iter().any(|permission| {
        let permission = permission.to_ascii_lowercase();
        permission == "*" || permission.contains("deployment") && permission.contains("update")
    });
    Some(match may {
        true => Check::ok("update", "the token's role names updates of deployments"),
        false => Check::warning("update", "the token's role names no update of deployments", UPDATE),
    })
}
