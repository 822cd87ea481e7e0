//! The client: each call is a short function over one that sends, bounds and classifies.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use super::accepted::{Accepted, AcceptedBody};
use super::account::{Account, Auth};
use super::answer::{self, Answered, Heard};
use super::body::{self, Body, End};
use super::deployments::{self, Deployments};
use super::error::{CallError, Cause, Effect, Failure, Wait};
use super::failure::Said;
use super::lenient::Lenient;
use super::proxy::{self, BadProxy};
use super::transport::{Proxies, Roots, Transport};
use super::wire::{
    ContainerList, Containers, Deployment, Envelope, List, Page, Patch, PatchDeployment, Service, Unfit, Unusable,
};
use super::{ApiUrl, Token, scrub};
use crate::model::{DeploymentEntry, DeploymentUpdate, Id, Live, ServiceKey, ServiceKind};

/// The most that is read of one service, in bytes: a manifest's limit, which its commands share.
const MAX_SERVICE: usize = 1024 * 1024;

/// The most that is read of a page of services, in bytes.
const MAX_PAGE: usize = 8 * 1024 * 1024;

/// The API as one token sees it. A clone shares connections and token.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    http: reqwest::Client,
    api_url: ApiUrl,
    /// Where the API is and which proxy leads there, in words.
    way: String,
    request_timeout: Duration,
    token: RwLock<Arc<Token>>,
}

/// Where the API is, and how long a call may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the API is.
    pub api_url: ApiUrl,
    /// Deadline of one call, its answer's body included; more than zero, at most [`Settings::MAX_TIMEOUT`].
    pub request_timeout: Duration,
    /// Deadline of one connection. Better below `request_timeout`: only then is it known of a call that found no
    /// connection in time that it was not sent.
    pub connect_timeout: Duration,
}

impl Settings {
    /// The longest deadline.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(60 * 60);

    /// Settings with a deadline of 10 seconds for a connection, or half of a call's where that is less.
    #[must_use]
    pub fn new(api_url: ApiUrl, request_timeout: Duration) -> Self {
        let connect_timeout = Duration::from_secs(10).min(request_timeout / 2);
        Self { api_url, request_timeout, connect_timeout }
    }
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A deadline of zero, or a longer one than [`Settings::MAX_TIMEOUT`].
    #[error("the {name} timeout is {value:?}; it must be more than zero and at most an hour")]
    Timeout {
        /// Which one.
        name: &'static str,
        /// What it was set to.
        value: Duration,
    },
    /// A variable of the environment names a proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] BadProxy),
    /// TLS cannot be set up; on Linux as a rule because there are no certificates.
    #[error("cannot set up TLS")]
    Tls {
        /// What was wrong.
        #[source]
        source: reqwest::Error,
    },
}

impl BuildError {
    /// What to do about it, where it is not plain.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Timeout { .. } => None,
            Self::Proxy(_) => Some("write http://HOST:PORT, or unset it; SOCKS proxies are not supported"),
            Self::Tls { .. } => Some(
                "install the system's CA certificates (package ca-certificates), or name a file of them in `SSL_CERT_FILE`",
            ),
        }
    }
}

/// An answer with a status of success, its body not yet read.
struct Success {
    effect: Effect,
    response: Response,
    heard: Heard,
    began: Instant,
    deadline: Instant,
    /// The token that was sent, which the answer may repeat.
    token: Arc<Token>,
}

impl Client {
    /// A client. Nothing is sent, and no connection made.
    ///
    /// # Errors
    /// Where a deadline makes no sense, or TLS cannot be set up.
    pub fn new(settings: Settings, token: Token) -> Result<Self, BuildError> {
        Self::build(settings, token, Proxies::Environment, Roots::System)
    }

    pub(super) fn build(settings: Settings, token: Token, proxies: Proxies, roots: Roots) -> Result<Self, BuildError> {
        let Settings { api_url, request_timeout, connect_timeout } = settings;
        for (name, value) in [("request", request_timeout), ("connect", connect_timeout)] {
            if value.is_zero() || value > Settings::MAX_TIMEOUT {
                return Err(BuildError::Timeout { name, value });
            }
        }
        let proxy = match proxies {
            Proxies::Environment => proxy::of(&api_url, |name| std::env::var_os(name))?,
            Proxies::Only(_) => None,
        };
        let way =
            proxy.map_or_else(|| format!("`{api_url}`"), |proxy| format!("`{api_url}` through the proxy `{proxy}`"));
        let transport = Transport { connect_timeout, proxies, roots };
        let http = transport.build(&api_url).map_err(|source| BuildError::Tls { source })?;
        let token = RwLock::new(Arc::new(token));
        Ok(Self { shared: Arc::new(Shared { http, api_url, way, request_timeout, token }) })
    }

    /// Where the API is.
    #[must_use]
    pub fn api_url(&self) -> &ApiUrl {
        &self.shared.api_url
    }

    /// Where the API is, and which proxy leads there, in words.
    #[must_use]
    pub fn way(&self) -> &str {
        &self.shared.way
    }

    /// Puts another token in place, for the calls that begin from now on; a call that is out keeps its own.
    pub fn replace_token(&self, token: Token) {
        *self.shared.token.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(token);
    }

    /// Whether this is the token in use, so that one just read can be told from the one that was refused.
    #[must_use]
    pub fn token_is(&self, token: &Token) -> bool {
        *self.token() == *token
    }

    /// `POST …/services/{service}/deployment`: updates a service's deployment.
    ///
    /// Accepted is what the API's own JSON says: `{"data": …}` under a status of success, or a status that has no body.
    ///
    /// # Errors
    /// Says what to do next and whether the update can have been accepted; see [`CallError`]. Anything else in the place
    /// of a success leaves the update in doubt.
    pub async fn update_deployment(
        &self,
        key: &ServiceKey,
        update: &DeploymentUpdate,
    ) -> Result<Answered<Accepted>, CallError> {
        self.send(Method::POST, self.shared.api_url.deployment(key), update, update).await
    }

    /// `PATCH …/services/{kind}/{service}`: the same update in the newer form. `instances` is what live shows now, so that
    /// scaling by hand survives: the form for a service of type deployment must name it.
    ///
    /// # Errors
    /// As with [`Client::update_deployment`]. Where the update has no form for such a service, nothing is sent, and the disposition is
    /// [`Rejected`](super::Disposition::Rejected): a service of type build deploys nothing, one of type combined only what
    /// it builds itself, and one of type deployment needs `instances`.
    pub async fn patch_deployment(
        &self,
        key: &ServiceKey,
        kind: ServiceKind,
        instances: Option<u32>,
        update: &DeploymentUpdate,
    ) -> Result<Answered<Accepted>, CallError> {
        if let Some(why) = has_no_patch(kind, instances, update) {
            let failure = Failure::Senseless { why };
            return Err(CallError::new(Effect::Update, failure, Heard::default(), Duration::ZERO));
        }
        // Where it may be left out, leaving it out cannot undo what somebody scales just now.
        let instances = instances.filter(|_| kind == ServiceKind::Deployment);
        let body = Patch { deployment: PatchDeployment { instances, update } };
        self.send(Method::PATCH, self.shared.api_url.service_of_kind(key, kind), &body, update).await
    }

    /// Sends an update in a body of either form.
    async fn send<B: Serialize + Sync>(
        &self,
        method: Method,
        url: Url,
        body: &B,
        update: &DeploymentUpdate,
    ) -> Result<Answered<Accepted>, CallError> {
        let accepted = async { self.call(Effect::Update, method, url, Some(body)).await?.accepted().await };
        accepted.await.map_err(|error| error.without_commands_of(update))
    }

    /// `GET …/services/{service}`: what a service runs, as it is: whatever is shown of it goes through
    /// [`Client::conceal`], because a command may hold the token.
    ///
    /// # Errors
    /// See [`CallError`]; the API's own 404 is [`Rejected`](super::Disposition::Rejected). A success whose body is not what
    /// the contract says is transient: a page of a proxy, an answer that was cut off.
    pub async fn read_service(&self, key: &ServiceKey) -> Result<Answered<Live>, CallError> {
        let success = self.call(Effect::Read, Method::GET, self.shared.api_url.service(key), NOTHING).await?;
        let live = |answer: Envelope<Service>| answer.data.ok_or(Unfit::NoData)?.into_live().ok_or(Unfit::NoType);
        success.read(MAX_SERVICE, live).await
    }

    /// The deprecated `GET …/services/{service}/deployment`: the id of the build that runs, which no other answer gives.
    /// Nothing where the service runs no build of another service, or the answer leaves it out.
    ///
    /// # Errors
    /// As with [`Client::read_service`].
    pub async fn read_build_id(&self, key: &ServiceKey) -> Result<Answered<Option<String>>, CallError> {
        let success = self.call(Effect::Read, Method::GET, self.shared.api_url.deployment(key), NOTHING).await?;
        let build_id = |answer: Envelope<Deployment>| Ok(answer.data.ok_or(Unfit::NoData)?.into_build_id());
        success.read(MAX_SERVICE, build_id).await
    }

    /// `GET …/services`: one page of a project's services, by their ids and types. `cursor` is [`Page::next`] of the page
    /// before. A page can lead to itself; whoever walks them bounds their number.
    ///
    /// # Errors
    /// As with [`Client::read_service`].
    pub async fn list_services(
        &self,
        team: Option<&Id>,
        project: &Id,
        cursor: Option<&str>,
    ) -> Result<Answered<Page>, CallError> {
        let url = self.shared.api_url.services(team, project, Page::SIZE, cursor);
        let success = self.call(Effect::Read, Method::GET, url, NOTHING).await?;
        success.read(MAX_PAGE, |answer: Envelope<List>| Page::try_from(answer)).await
    }

    /// `GET …/services/{service}/containers`: how many containers there are, and how many of them failed.
    ///
    /// # Errors
    /// As with [`Client::read_service`].
    pub async fn containers(&self, key: &ServiceKey) -> Result<Answered<Containers>, CallError> {
        let url = self.shared.api_url.containers(key, Page::SIZE);
        let success = self.call(Effect::Read, Method::GET, url, NOTHING).await?;
        success.read(MAX_PAGE, |answer: Envelope<ContainerList>| Containers::try_from(answer)).await
    }

    /// `GET …/services/{service}/deployments`: what was deployed, the newest first, and by whom. An older API does not serve it.
    ///
    /// # Errors
    /// As with [`Client::read_service`].
    pub async fn deployments(&self, key: &ServiceKey) -> Result<Answered<Vec<DeploymentEntry>>, CallError> {
        let url = self.shared.api_url.deployments(key, deployments::NEWEST);
        let success = self.call(Effect::Read, Method::GET, url, NOTHING).await?;
        success.read(MAX_SERVICE, |answer: Envelope<Deployments>| deployments::entries(answer)).await
    }

    /// `GET /v1/auth`: whose the token is; nothing where the API does not serve the call, as an older one does not, or
    /// answers without naming an account.
    ///
    /// # Errors
    /// As with [`Client::read_service`]. Nothing else depends on this call, so that any failure of it may be passed over.
    pub async fn account(&self) -> Result<Answered<Option<Account>>, CallError> {
        let read = async {
            let success = self.call(Effect::Read, Method::GET, self.shared.api_url.auth(), NOTHING).await?;
            let account = |answer: Envelope<Auth>| Ok(answer.data.ok_or(Unfit::NoData)?.into_account());
            success.read(MAX_SERVICE, account).await
        };
        read.await.or_else(|error| match error.status() {
            Some(status) if error.is_not_served() => Ok(Answered {
                value: None,
                status,
                quota: error.quota(),
                elapsed: error.elapsed(),
                deprecated: error.deprecated(),
                server_time: error.server_time(),
            }),
            _ => Err(error),
        })
    }

    /// A text without the token, which has `[token]` in its place. Tokens of fewer than 16 characters are left: they could
    /// be words of the text.
    #[must_use]
    pub fn conceal(&self, text: &str) -> String {
        scrub::conceal(text, &self.token())
    }

    /// Tells whether a text holds the token of this moment, as [`Token::is_in`] does.
    pub fn finds_token(&self) -> impl Fn(&str) -> bool + Send + use<> {
        let token = self.token();
        move |text| token.is_in(text)
    }

    /// Sends one request, once, and sorts the answer by its status.
    async fn call<B: Serialize + Sync>(
        &self,
        effect: Effect,
        method: Method,
        url: Url,
        content: Option<&B>,
    ) -> Result<Success, CallError> {
        let Shared { http, way, request_timeout, .. } = &*self.shared;
        let token = self.token();
        let began = Instant::now();
        let deadline = began + *request_timeout;
        let failed = |failure, heard| CallError::new(effect, failure, heard, began.elapsed());

        let mut request = http.request(method, url).header(AUTHORIZATION, token.authorization());
        if let Some(content) = content {
            let content = serde_json::to_vec(content)
                .map_err(|error| failed(Failure::Request { cause: Cause::of(&error, &token) }, Heard::default()))?;
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(content);
        }
        let response = match timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(failed(network(error, way, &token), Heard::default())),
            Err(_) => {
                let failure = Failure::Timeout { way: way.clone(), after: *request_timeout };
                return Err(failed(failure, Heard::default()));
            }
        };

        let heard = Heard::from_headers(response.headers());
        if response.status().is_success() {
            Ok(Success { effect, response, heard, began, deadline, token })
        } else {
            Err(failed(refusal(response, deadline, &token).await, heard))
        }
    }

    fn token(&self) -> Arc<Token> {
        Arc::clone(&self.shared.token.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Success {
    /// For updates: whether it is the API that accepted.
    async fn accepted(self) -> Result<Answered<Accepted>, CallError> {
        let (status, server_time) = (self.response.status(), self.heard.server_time);
        let has_no_body = matches!(status, StatusCode::NO_CONTENT | StatusCode::ACCEPTED);
        let accepted = |body| Ok(Accepted { body, server_time });
        self.take(MAX_SERVICE, |body| match body {
            [] if has_no_body => accepted(AcceptedBody::Empty),
            body => accepted(AcceptedBody::of(Envelope::from_body(body)?.data.ok_or(Unfit::NoData)?)),
        })
        .await
    }

    /// For calls that ask for something: takes it out of a body of at most `limit` bytes.
    async fn read<D: for<'de> Lenient<'de>, T>(
        self,
        limit: usize,
        take: impl FnOnce(Envelope<D>) -> Result<T, Unfit>,
    ) -> Result<Answered<T>, CallError> {
        self.take(limit, |body| Ok(take(Envelope::from_body(body)?)?)).await
    }

    async fn take<T>(
        self,
        limit: usize,
        take: impl FnOnce(&[u8]) -> Result<T, Unusable>,
    ) -> Result<Answered<T>, CallError> {
        let Self { effect, response, heard, began, deadline, token } = self;
        let status = response.status();
        let body = body::read(response, limit, deadline).await;
        let unreadable = |why| Err(Failure::Unreadable { status, why, cause: None });
        let taken = match body.end {
            End::Whole => take(&body.bytes).map_err(|why| unusable(why, status, &body, &token)),
            End::TooLong => unreadable("its body is too long"),
            End::Deadline => unreadable("its body did not come in time"),
            End::Broken => unreadable("its body broke off"),
        };
        let elapsed = began.elapsed();
        match taken {
            Ok(value) => {
                let Heard { quota, deprecated, server_time } = heard;
                Ok(Answered { value, status: status.as_u16(), quota, elapsed, deprecated, server_time })
            }
            Err(failure) => Err(CallError::new(effect, failure, heard, elapsed)),
        }
    }
}

/// No body.
const NOTHING: Option<&()> = None;

/// Why an update cannot be a PATCH of a service of this type.
fn has_no_patch(kind: ServiceKind, instances: Option<u32>, update: &DeploymentUpdate) -> Option<&'static str> {
    match (kind, update) {
        (ServiceKind::Build, _) => Some("a service of type build deploys nothing"),
        (ServiceKind::Combined, DeploymentUpdate::External { .. }) => {
            Some("a service of type combined deploys what it builds, and takes no `external`")
        }
        (ServiceKind::Combined, DeploymentUpdate::Internal { .. }) => {
            Some("a service of type combined deploys what it builds, and takes no `internal`")
        }
        (ServiceKind::Combined, DeploymentUpdate::Runtime(_)) => None,
        (ServiceKind::Deployment, _) if instances.is_none() => {
            Some("PATCH must name how many instances run, and live does not show it")
        }
        (ServiceKind::Deployment, _) => None,
    }
}

/// What reqwest's error means for the call.
fn network(error: reqwest::Error, way: &str, token: &Token) -> Failure {
    let (connect, builder) = (error.is_connect(), error.is_builder());
    let (way, cause) = (way.to_owned(), Cause::of(&error.without_url(), token));
    if builder {
        Failure::Request { cause }
    } else if connect {
        Failure::Connect { way, cause }
    } else {
        Failure::Broken { way, cause }
    }
}

/// What an answer says that is no success.
async fn refusal(response: Response, deadline: Instant, token: &Token) -> Failure {
    let status = response.status();
    let wait = answer::wait(status, response.headers());
    let said = if status.is_redirection() {
        Said { message: Some(redirected(response.headers(), token)), ..Said::default() }
    } else {
        Said::from_body(status, &body::read(response, body::MAX_FAILURE, deadline).await, token)
    };
    Failure::Status { status, said, wait }
}

/// What a body under a status of success means that is not what the call asked for.
fn unusable(why: Unusable, status: StatusCode, body: &Body, token: &Token) -> Failure {
    match why {
        Unusable::NotAnAnswer => {
            Failure::Status { status, said: Said::from_body(status, body, token), wait: Wait::Unsaid }
        }
        Unusable::Unfit(unfit) => {
            let why = "its body is not what the contract says";
            Failure::Unreadable { status, why, cause: Some(Cause::of(&unfit, token)) }
        }
    }
}

/// A redirect in words: as a rule the API's address is wrong, and where it leads to says how.
fn redirected(headers: &HeaderMap, token: &Token) -> String {
    let place = headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let place = place.split(['?', '#']).next().unwrap_or_default();
    match scrub::line(place, token, 200) {
        place if place.is_empty() => "redirects are not followed".to_owned(),
        place => format!("redirects are not followed, and this one leads to `{place}`"),
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("api_url", &self.shared.api_url).finish_non_exhaustive()
    }
}
