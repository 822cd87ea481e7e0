//! What the API must never see, whatever process it talks to.

use std::time::Duration;

use truenorth::engine::Work;
use truenorth::model::Cause;

use crate::api::{Asks, Effect, Grounds, Request, RequestId, Way};
use crate::checks::{Broken, Held, hold};
use crate::clock::Moment;
use crate::content::{Name, Version};
use crate::disk::Disk;
use crate::folder::Snapshot;

/// So many corrections an hour, while the manifest stays.
pub(crate) const CORRECTIONS: usize = 3;
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug, Default)]
struct Service {
    /// The request that somebody waits for.
    on_its_way: Option<RequestId>,
    /// The look that what is live follows from.
    newest: u64,
    corrected: Vec<Moment>,
    /// Whether the part that was not in effect was sent alone since an update was accepted.
    completed: bool,
    /// The manifest as it was seen last, and how often its content was applied since, corrections left out.
    manifest: Option<Version>,
    applied: u32,
}

#[derive(Debug)]
pub(crate) struct Record {
    services: Vec<Service>,
    /// Whether a clock jumped: times that were kept mean nothing then.
    pub(crate) jumped: bool,
}

impl Record {
    pub(crate) fn new(services: usize) -> Self {
        Self { services: vec![Service::default(); services], jumped: false }
    }

    /// A process saw the folder.
    pub(crate) fn observed(&mut self, snapshot: &Snapshot) {
        for (number, service) in self.services.iter_mut().enumerate() {
            let version = snapshot.of(Name(number)).map(|wanted| wanted.version);
            if service.manifest != version {
                (service.manifest, service.completed, service.applied) = (version, false, 0);
                service.corrected.clear();
            }
        }
    }

    /// A request leaves.
    pub(crate) fn sent<W: Copy>(
        &mut self,
        request: &Request,
        others: impl Iterator<Item = Request>,
        disk: &Disk<W>,
        now: Moment,
    ) -> Held {
        let Request { id, name, work, .. } = *request;
        let service = &mut self.services[name.0];
        let before = service.on_its_way.replace(id);
        hold!(before.is_none(), "one in flight: a second request for {name} is on its way");
        let Some(version) = request.carries() else { return Ok(()) };
        hold!(
            disk.open_call(name) == Some(version),
            "intent first: {version} of {name} is sent, the disk knows {:?}",
            disk.open_call(name)
        );
        // A change back to it does not wait for what it was changed from.
        let changes = work == Work::Send(Cause::Changed);
        for other in others.filter(|other| !changes && other.name == name && other.way == Way::There) {
            hold!(
                other.carries() != Some(version),
                "doubt: {version} of {name} is sent again while the request of {} may still take effect",
                other.sent
            );
        }
        if work == Work::Send(Cause::Drifted) {
            let lately = service.corrected.iter().filter(|at| at.after(HOUR) > now.after(Duration::from_millis(2)));
            hold!(self.jumped || lately.count() < CORRECTIONS, "flapping: {name} is corrected again within an hour");
        }
        if work == Work::Send(Cause::NotInEffect) {
            hold!(!service.completed, "not in effect: the missing part of {name} is sent twice");
        }
        Ok(())
    }

    /// Nobody waits for a request any more.
    pub(crate) fn over(&mut self, request: &Request) {
        let service = &mut self.services[request.name.0];
        service.on_its_way.take_if(|id| *id == request.id);
    }

    /// An update was accepted, and that is on disk.
    pub(crate) fn accepted(&mut self, name: Name, work: Work, at: Moment) {
        let service = &mut self.services[name.0];
        if work == Work::Send(Cause::Drifted) {
            service.corrected.push(at);
        }
        service.completed = work == Work::Send(Cause::NotInEffect);
    }

    /// A request took effect on a service that was changed by hand at a time.
    pub(crate) fn took_effect(
        &mut self,
        request: &Request,
        effect: Effect,
        touched: Option<Moment>,
        applied: Option<Version>,
    ) -> Held {
        let Request { name, look, grounds, over, .. } = *request;
        let (Effect::Applied { before }, Some(version)) = (effect, request.carries()) else { return Ok(()) };
        let service = &mut self.services[name.0];
        let corrects = matches!(request.work, Work::Send(Cause::Drifted | Cause::NotInEffect));
        if service.manifest == Some(version) && !corrects {
            service.applied += 1;
        }
        let part =
            matches!(request.asks, Asks::Post(_, parts) | Asks::Patch(_, parts) if parts != crate::content::Parts::All);
        // It may be what two manifests say, where one of them names less.
        let both = applied.is_some_and(|applied| applied != version && before.is(applied));
        let excused = over
            || part
            || both
            || match grounds {
                Grounds::Nothing => true,
                Grounds::Told(told) => touched.is_some_and(|touched| touched >= told),
            };
        hold!(
            before.of != Some(version) || excused,
            "needless: {name} had {version} already, and a read could have told; {grounds:?}, by hand at {touched:?}"
        );
        if over {
            // It comes after its process knew what may come; that it is noticed shows at the end.
            return Ok(());
        }
        hold!(look >= service.newest, "never older: {version} of {name} comes after something newer");
        service.newest = look;
        Ok(())
    }
}
