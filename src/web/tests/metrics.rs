//! The metrics' text, read as the OpenMetrics specification lays it down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;

/// A metric family: its three lines of description, and its samples in order.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    unit: Option<String>,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    suffix: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// The endings of a sample's name that its family's type allows.
fn suffixes(kind: &str) -> &'static [&'static str] {
    match kind {
        "counter" => &["_total"],
        "gauge" => &[""],
        "info" => &["_info"],
        "histogram" => &["_bucket", "_sum", "_count"],
        kind => panic!("type {kind} is not used here"),
    }
}

/// Reads the text and holds it to the rules on its way.
fn parse(text: &str) -> BTreeMap<String, Family> {
    let body = text.strip_suffix("# EOF\n").expect("the text ends with its mark");
    let mut families = BTreeMap::<String, Family>::new();
    let mut present = String::new();
    for line in body.lines() {
        if let Some(described) = line.strip_prefix("# ") {
            let mut words = described.splitn(3, ' ');
            let (keyword, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            if name != present {
                assert!(!families.contains_key(name), "{name} comes in two places");
                present = name.to_owned();
            }
            let family = families.entry(name.to_owned()).or_default();
            assert!(family.samples.is_empty(), "{name} is described after its samples");
            match keyword {
                "HELP" => family.help = rest.to_owned(),
                "TYPE" => family.kind = rest.to_owned(),
                "UNIT" => family.unit = Some(rest.to_owned()),
                _ => panic!("{line}"),
            }
        } else {
            let (name, labels, value) = split(line);
            let suffix = name.strip_prefix(&present).unwrap_or_else(|| panic!("{line} is not of {present}"));
            let sample = Sample { suffix: suffix.to_owned(), labels, value };
            families.get_mut(&present).unwrap().samples.push(sample);
        }
    }
    families
}

/// A sample's name, labels and value. No label here holds a comma, a quote or a brace.
fn split(line: &str) -> (&str, BTreeMap<String, String>, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').unwrap().split(',').filter(|label| !label.is_empty()).map(|label| {
        let (key, value) = label.split_once('=').unwrap();
        (key.to_owned(), value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap().to_owned())
    });
    (name, labels.collect(), value.parse().unwrap())
}

/// The value of one sample.
fn value(families: &BTreeMap<String, Family>, name: &str, suffix: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let labels: BTreeMap<_, _> = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let mut found =
        families.get(name)?.samples.iter().filter(|sample| sample.suffix == suffix && sample.labels == labels);
    let value = found.next().map(|sample| sample.value);
    assert!(found.next().is_none(), "{name}{suffix} {labels:?} comes twice");
    value
}

fn used() -> Meters {
    let meters = Meters::new();
    meters.pass("start");
    meters.clone().pass("event");
    meters.pass("event");
    meters.call("accepted", Duration::from_millis(20));
    meters.call("transient", Duration::from_secs(31));
    meters.reaction(Duration::from_millis(120));
    meters.unrecorded();
    meters
}

#[test]
fn every_family_is_described_and_named_as_the_specification_wants() {
    let families = parse(&used().encode(&gauges()));
    for (name, family) in &families {
        assert!(name.starts_with("truenorth_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert!(family.help.len() > 10 && family.help.ends_with('.') && !family.help.ends_with(".."), "{name}");
        assert!(!family.samples.is_empty(), "{name} has no sample");
        let allowed = suffixes(&family.kind);
        for sample in &family.samples {
            assert!(allowed.contains(&sample.suffix.as_str()), "{name}{} in a {}", sample.suffix, family.kind);
        }
        match &family.unit {
            Some(unit) => assert!(name.ends_with(&format!("_{unit}")), "{name} does not end with its unit {unit}"),
            None => assert!(!name.ends_with("_seconds"), "{name} does not declare its unit"),
        }
        for reserved in ["_total", "_info", "_bucket", "_count", "_sum", "_created"] {
            assert!(!name.ends_with(reserved), "{name} ends as a sample does");
        }
    }
    let names: BTreeSet<_> = families.iter().map(|(name, family)| format!("{} {name}", family.kind)).collect();
    insta::assert_snapshot!(names.into_iter().collect::<Vec<_>>().join("\n"), @"
    counter truenorth_calls
    counter truenorth_deprecated_answers
    counter truenorth_ledger_write_failures
    counter truenorth_passes
    gauge truenorth_calls_in_flight
    gauge truenorth_last_look_timestamp_seconds
    gauge truenorth_paused
    gauge truenorth_problems
    gauge truenorth_quota_limit
    gauge truenorth_quota_remaining
    gauge truenorth_rollouts
    gauge truenorth_services
    histogram truenorth_call_duration_seconds
    histogram truenorth_change_to_call_seconds
    histogram truenorth_rollout_duration_seconds
    info truenorth_build
    ");
}

#[test]
fn histograms_are_cumulative_and_end_at_infinity() {
    let families = parse(&used().encode(&gauges()));
    let name = "truenorth_call_duration_seconds";
    let accepted = ("outcome", "accepted");
    assert_eq!(value(&families, name, "_bucket", &[accepted, ("le", "0.01")]), Some(0.0));
    assert_eq!(value(&families, name, "_bucket", &[accepted, ("le", "0.025")]), Some(1.0));
    assert_eq!(value(&families, name, "_bucket", &[accepted, ("le", "30.0")]), Some(1.0));
    assert_eq!(value(&families, name, "_sum", &[accepted]), Some(0.02));
    assert_eq!(value(&families, name, "_count", &[("outcome", "transient")]), Some(1.0));
    for family in families.values().filter(|family| family.kind == "histogram") {
        let mut series = BTreeMap::<_, Vec<_>>::new();
        for sample in family.samples.iter().filter(|sample| sample.suffix == "_bucket") {
            let mut labels = sample.labels.clone();
            let bound: f64 = labels.remove("le").unwrap().parse().unwrap();
            series.entry(labels).or_default().push((bound, sample.value));
        }
        for (labels, buckets) in series {
            assert!(buckets.is_sorted(), "{labels:?} {buckets:?}");
            assert_eq!(buckets.last().unwrap().0, f64::INFINITY, "{labels:?}");
            let count = family.samples.iter().find(|sample| sample.suffix == "_count" && sample.labels == labels);
            assert_eq!(buckets.last().unwrap().1, count.unwrap().value, "{labels:?}");
        }
    }
}

#[test]
fn what_was_counted_is_shown() {
    let families = parse(&used().encode(&gauges()));
    for (name, suffix, labels, expected) in [
        ("truenorth_passes", "_total", &[("trigger", "event")][..], 2.0),
        ("truenorth_calls", "_total", &[("outcome", "accepted")], 1.0),
        ("truenorth_change_to_call_seconds", "_sum", &[], 0.12),
        ("truenorth_ledger_write_failures", "_total", &[], 1.0),
        ("truenorth_services", "", &[("state", "unchanged")], 40.0),
        ("truenorth_services", "", &[("state", "stalled")], 0.0),
        ("truenorth_problems", "", &[], 1.0),
        ("truenorth_quota_remaining", "", &[], 993.0),
        ("truenorth_quota_limit", "", &[], 1000.0),
        ("truenorth_last_look_timestamp_seconds", "", &[], 1_772_355_600.5),
        ("truenorth_calls_in_flight", "", &[], 3.0),
        ("truenorth_paused", "", &[], 1.0),
        ("truenorth_build", "_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0),
    ] {
        assert_eq!(value(&families, name, suffix, labels), Some(expected), "{name}{suffix} {labels:?}");
    }
}

#[test]
fn counters_stand_at_zero_before_the_first_event() {
    let families = parse(&Meters::new().encode(&Gauges::default()));
    for trigger in ["start", "event", "resync", "hup", "usr1"] {
        assert_eq!(value(&families, "truenorth_passes", "_total", &[("trigger", trigger)]), Some(0.0));
    }
    for outcome in ["accepted", "transient", "limited", "denied", "rejected"] {
        assert_eq!(value(&families, "truenorth_calls", "_total", &[("outcome", outcome)]), Some(0.0));
    }
}

#[test]
fn what_is_not_known_has_no_number() {
    let families = parse(&Meters::new().encode(&Gauges::default()));
    for name in ["truenorth_quota_remaining", "truenorth_quota_limit", "truenorth_last_look_timestamp_seconds"] {
        assert_eq!(value(&families, name, "", &[]), None);
    }
    assert_eq!(value(&families, "truenorth_paused", "", &[]), Some(0.0));
}
