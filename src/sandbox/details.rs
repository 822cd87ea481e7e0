//! Details: what is wrong with a body, by field, as the answer 400 tells it.

use std::collections::BTreeMap;

use jsonschema::{ValidationError, Validator, error::ValidationErrorKind};
use serde_json::Value;

/// Most findings that an answer lists.
const MAX_FINDINGS: usize = 50;

/// Field (`external.imagePath`; `body` for the whole) to what is wrong with it.
pub(super) type Details = BTreeMap<String, Vec<String>>;

/// One finding on a field.
pub(super) fn finding(field: &str, message: &str) -> Details {
    Details::from([(field.to_owned(), vec![message.to_owned()])])
}

/// Everything that a schema finds wrong.
pub(super) fn details_of(validator: &Validator, body: &Value) -> Details {
    let mut details = Details::new();
    for error in validator.iter_errors(body).take(MAX_FINDINGS) {
        collect(&error, &mut details);
    }
    details
}

fn collect(error: &ValidationError<'_>, details: &mut Details) {
    let at = error.instance_path().as_str();
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            add(details, &join(at, property.as_str().unwrap_or_default()), "is required".to_owned());
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for name in unexpected.iter().take(MAX_FINDINGS) {
                add(details, &join(at, name), "is not allowed here".to_owned());
            }
        }
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            collect_nearest(at, context, details);
        }
        // Masked: the value itself may be long, and the client knows it.
        _ => add(details, at, error.masked().to_string()),
    }
}

/// Of several forms that a value fits none of, tells what is wrong with the nearest: fewest faults at the value itself
/// (a key too many or missing says that another form was meant), then fewest faults in all.
fn collect_nearest(at: &str, forms: &[Vec<ValidationError<'static>>], details: &mut Details) {
    let distance = |errors: &Vec<ValidationError<'static>>| {
        (errors.iter().filter(|error| error.instance_path().as_str() == at).count(), errors.len())
    };
    let Some(least) = forms.iter().map(distance).min() else { return };
    let nearest: Vec<_> = forms.iter().filter(|errors| distance(errors) == least).collect();
    if nearest.len() > 1 {
        add(details, at, format!("fits none of {} forms; for each of the nearest, one of these is wrong", forms.len()));
    }
    for error in nearest.into_iter().flatten() {
        collect(error, details);
    }
}

fn add(details: &mut Details, pointer: &str, message: String) {
    let path = pointer.trim_start_matches('/').replace('/', ".");
    let field = if path.is_empty() { "body".to_owned() } else { path };
    let messages = details.entry(field).or_default();
    if !messages.contains(&message) {
        messages.push(message);
    }
}

fn join(pointer: &str, name: &str) -> String {
    // A name comes from the client's body; a long one is cut, so that an answer stays short.
    let name: String = name.chars().take(100).collect();
    format!("{pointer}/{name}")
}
