//! The JSON Schema of a config file, made from the command line's own definition.

use clap::{Arg, Command};
use serde_json::{Map, Value, json};

use super::options::{self, Named};
use super::windows;

/// The schema, for editors and CI.
pub(in crate::cli) fn schema(command: &Command) -> Value {
    let mut properties = Map::new();
    for name in options::names(command) {
        if let Named::One(arg) = options::named(command, name) {
            properties.insert(name.to_owned(), option(arg));
        }
    }
    properties.insert(windows::WINDOWS.to_owned(), windows::schema());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "truenorth config file",
        "description": "Options by their long names. The command line and the environment go before them.",
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": properties,
    })
}

fn option(arg: &Arg) -> Value {
    let mut one = match arg.get_possible_values().as_slice() {
        _ if options::is_flag(arg) => json!({"type": "boolean"}),
        [] if options::is_number(arg) => json!({"type": "integer"}),
        [] => json!({"type": ["string", "number"]}),
        known => {
            let known: Vec<&str> = known.iter().map(clap::builder::PossibleValue::get_name).collect();
            json!({"enum": known})
        }
    };
    if options::is_list(arg) {
        one = json!({"anyOf": [one, {"type": "array", "items": one}]});
    }
    if let Value::Object(fields) = &mut one {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        fields.insert("description".to_owned(), help.into());
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if let ([default], false) = (defaults.as_slice(), options::is_flag(arg)) {
            fields.insert("default".to_owned(), default.parse::<u32>().map_or(json!(default), Into::into));
        }
    }
    one
}
