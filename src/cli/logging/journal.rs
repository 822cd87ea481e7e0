//! Lines for systemd's journal: their fields stand in the message too, as `journalctl` shows nothing else.

use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Value, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::text::printable;

/// Most fields of a line; ours have ten at most.
const MOST: usize = 32;

/// A layer that is told each event with a message that names its fields, as in a line of text.
pub(super) struct Whole<L>(pub(super) L);

impl<S: Subscriber, L: Layer<S>> Layer<S> for Whole<L> {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut told = Told::default();
        event.record(&mut told);
        let fields = event.metadata().fields();
        let Some(message) = fields.field("message").filter(|_| told.fields.len() < MOST) else {
            return self.0.on_event(event, context);
        };
        let mut values: [(&Field, Option<&dyn Value>); MOST] = [(&message, None); MOST];
        values[0].1 = Some(&told.message);
        for (place, (field, value)) in values[1..].iter_mut().zip(&told.fields) {
            *place = (field, Some(&**value));
        }
        self.0.on_event(&Event::new(event.metadata(), &fields.value_set(&values)), context);
    }
}

/// What an event tells.
#[derive(Default)]
struct Told {
    /// All of it.
    message: String,
    /// What is no message.
    fields: Vec<(Field, Box<dyn Value>)>,
}

impl Told {
    fn take<V: Value + 'static>(&mut self, field: &Field, value: V, shown: &dyn Debug) {
        // Writing to a string does not fail.
        let _ = write!(self.message, " {field}={}", printable(&format!("{shown:?}")));
        self.fields.push((field.clone(), Box::new(value)));
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            // The macros record it first, or last.
            "message" => self.message.insert_str(0, printable(&format!("{value:?}")).as_str()),
            _ => self.take(field, printable(&format!("{value:?}")).to_string(), value),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message.insert_str(0, printable(value).as_str()),
            _ => self.take(field, printable(value).to_string(), &value),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, value, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, value, &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, value, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, value, &value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::{error, info};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Keeps what it is told, as the journal's layer does.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<(String, String)>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            event.record(&mut self.clone());
        }
    }

    impl Visit for Kept {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            self.0.lock().unwrap().push((field.name().to_owned(), format!("{value:?}")));
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.lock().unwrap().push((field.name().to_owned(), value.to_owned()));
        }
    }

    fn told(tell: impl FnOnce()) -> Vec<(String, String)> {
        let kept = Kept::default();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Whole(kept.clone())), tell);
        let mut told = std::mem::take(&mut *kept.0.lock().unwrap());
        told.sort();
        told
    }

    #[test]
    fn the_message_names_the_fields_and_each_is_a_field_all_the_same() {
        let (service, attempt) = ("shop/web", 2_u32);
        let told = told(|| info!(service = %service, cause = "new", attempt, late = true, "update accepted"));
        let message = r#"update accepted service=shop/web cause="new" attempt=2 late=true"#;
        let fields =
            [("attempt", "2"), ("cause", "new"), ("late", "true"), ("message", message), ("service", "shop/web")];
        assert_eq!(told, fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_a_field_holds_cannot_begin_another_line() {
        let told = told(|| error!(error = "500\nupdate accepted", "update failed"));
        assert_eq!(told[1].1, r#"update failed error="500\nupdate accepted""#);
        assert_eq!(told[0].1, r"500\nupdate accepted");
    }
}
