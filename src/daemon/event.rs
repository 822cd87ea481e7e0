//! What the loop hears of, and what it does about it, whatever it is doing. Nothing here waits, and nothing is read.

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::config::{Config, Reread};
use super::look::{Look, Looked};
use super::looks::Trigger;
use super::state::{Daemon, Phase};
use crate::runner::Done;
use crate::source::Writing;
use crate::stop::{GRACE, Request, Stopping};
use crate::web::Query;

/// What the loop hears of.
pub(super) enum Event {
    /// A task of the runner brought something.
    Done(Box<Done>),
    /// A look came back.
    Looked(Box<Looked>),
    /// The config file was read again.
    Reread(Result<Reread, String>),
    /// A signal asks for something.
    Asked(Request),
    /// A person wrote into the ledger.
    Rang,
    /// The status server asks.
    Queried(Query),
    Noticed(Writing),
    /// A signal asks for the end.
    Stop(Stopping),
    /// It is time for something.
    Woke,
}

/// What is done beside the loop, because it blocks on the disk.
pub(super) enum Chore {
    Look(Box<Look>),
    Reread(Config),
}

/// Within this time the same request again is a storm, which is told once.
const STORM: Duration = Duration::from_secs(1);

impl Daemon {
    /// Does what an event asks for.
    pub(super) fn handle(&mut self, event: Event, now: Instant) -> Option<Chore> {
        if let Phase::Stopping { .. } = self.phase {
            self.finish(event, now);
            return None;
        }
        match event {
            Event::Done(done) => self.take_done(*done),
            Event::Looked(looked) => self.take(*looked, now),
            Event::Reread(read) => self.take_config(read),
            Event::Asked(request) => return self.take_request(request, now),
            Event::Rang => self.carrier.read_people(),
            Event::Queried(query) => self.answer(query),
            Event::Noticed(writing) => self.looks.event(now, writing),
            Event::Stop(asked) => self.stop(asked, now),
            Event::Woke => {}
        }
        None
    }

    /// The same while calls in flight come to their end: nothing new begins.
    fn finish(&mut self, event: Event, now: Instant) {
        match event {
            Event::Done(done) => self.take_done(*done),
            Event::Looked(looked) => self.eyes = Some(looked.eyes),
            Event::Queried(query) => self.answer(query),
            Event::Stop(Stopping::AtOnce) => self.phase = Phase::Stopping { until: now },
            // What people ask for is there for the next process.
            Event::Stop(_) | Event::Reread(_) | Event::Asked(_) | Event::Rang | Event::Noticed(_) | Event::Woke => {}
        }
    }

    /// Begins what is due.
    pub(super) fn turn(&mut self, now: Instant) -> Option<Chore> {
        if self.carrier.is_elsewhere() {
            self.stop(Stopping::Gracefully, now);
        }
        self.begin_calls();
        let mut look = None;
        if !matches!(self.phase, Phase::Stopping { .. }) && self.looks.due(now).is_some_and(|due| due <= now) {
            look = self.begin_look(now).map(|look| Chore::Look(Box::new(look)));
        }
        self.say(now);
        if self.published.due().is_some_and(|due| due <= now) {
            self.publish();
        }
        look
    }

    /// Whether nothing is left to wait for.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Stopping { until } if until <= now || self.carrier.is_idle())
    }

    fn stop(&mut self, asked: Stopping, now: Instant) {
        if matches!(self.phase, Phase::Stopping { .. }) {
            return;
        }
        let grace = if asked == Stopping::AtOnce { Duration::ZERO } else { GRACE };
        self.phase = Phase::Stopping { until: now + grace };
        self.systemd.stopping();
        let in_flight = self.carrier.machine().in_flight();
        info!(in_flight, "stopping: calls in flight are finished, nothing is begun");
        let happened = self.carrier.finish_calls();
        self.hear(happened);
    }

    /// Does what a signal asks for.
    fn take_request(&mut self, request: Request, now: Instant) -> Option<Chore> {
        let again = self.asked.replace((request, now));
        if again.is_none_or(|(before, at)| before != request || now > at + STORM) {
            match request {
                Request::Reload => info!("SIGHUP: reading the token again and looking at the folder"),
                Request::LookNow => info!("SIGUSR1: looking now, and trying again what waits"),
            }
        }
        match request {
            Request::Reload => {
                self.systemd.reloading();
                if self.phase != Phase::Starting {
                    self.phase = Phase::Reloading { looks: false };
                }
                self.carrier.renew_token();
                self.looks.ask(Trigger::Reload);
                self.published.touch_all(now);
                // A reading that goes on may have read what was there before.
                self.config.clone().map(Chore::Reread)
            }
            Request::LookNow => {
                self.carrier.retry_all();
                self.looks.ask(Trigger::Asked);
                self.published.touch_all(now);
                None
            }
        }
    }
}
