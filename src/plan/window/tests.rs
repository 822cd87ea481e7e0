use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

fn window(effect: WindowEffect, spans: &[&str], zone: &str) -> ChangeWindow {
    let spans = spans.iter().map(|span| span.parse().unwrap()).collect();
    let zone = TimeZone::get(zone).unwrap();
    ChangeWindow { effect, spans, zone, services: Vec::new(), rollbacks: Rollbacks::Send, reason: None }
}

fn of_services(window: ChangeWindow, patterns: &[&str]) -> ChangeWindow {
    let services = patterns.iter().map(|pattern| ServicePattern::new(pattern).unwrap()).collect();
    ChangeWindow { services, ..window }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn closed_at(windows: &[ChangeWindow], key: &str, now: &str) -> Option<HeldBy> {
    Windows::new(windows.to_vec()).unwrap().at(at(now)).closed(&key.parse().unwrap()).updates
}

#[test]
fn a_rollback_waits_for_the_windows_that_say_so_and_never_longer_than_an_update() {
    let holds = |window| ChangeWindow { rollbacks: Rollbacks::Hold, ..window };
    let days = window(WindowEffect::Allow, &["Mon-Fri"], "UTC");
    let saturdays = window(WindowEffect::Allow, &["Sat"], "UTC");
    let fair = window(WindowEffect::Deny, &["2026-11-21"], "UTC");
    let held = |windows: &[&ChangeWindow], now: &str| {
        let windows = Windows::new(windows.iter().map(|window| (*window).clone()).collect()).unwrap();
        let ClosedBy { updates, rollbacks } = windows.at(at(now)).closed(&"shop/web".parse().unwrap());
        assert!(updates.is_some() || rollbacks.is_none());
        rollbacks.map(|held| held.until.unwrap().to_string())
    };
    let (saturday, sunday) = ("2026-11-21T10:00:00Z", "2026-11-22T10:00:00Z");
    let monday = Some("2026-11-23T00:00:00Z".to_owned());
    assert_eq!(held(&[&days, &fair], saturday), None, "at any time if not said");
    assert_eq!(held(&[&holds(days.clone())], saturday), monday);
    // Where another one lets updates go, it lets this go as well.
    assert_eq!(held(&[&holds(days.clone()), &saturdays], saturday), None);
    assert_eq!(held(&[&holds(days.clone()), &saturdays], sunday), monday);
    assert_eq!(held(&[&days, &holds(fair.clone())], saturday), Some("2026-11-22T00:00:00Z".to_owned()));
    assert_eq!(held(&[&days, &holds(fair)], sunday), None);
}

fn opens(windows: &[ChangeWindow], now: &str) -> Option<String> {
    let held = closed_at(windows, "shop/web", now);
    held.map(|held| held.until.map_or_else(|| "never".to_owned(), |until| until.to_string()))
}

#[test]
fn a_pattern_that_matches_no_service_is_told_once_with_its_place() {
    let patterns = ["shop", "shopp/*", "shop/web", "acme/shop/api"];
    let [allow, deny] =
        [WindowEffect::Allow, WindowEffect::Deny].map(|effect| of_services(window(effect, &["Mon"], "UTC"), &patterns));
    let for_all = window(WindowEffect::Deny, &["Sun"], "UTC");
    let places = ["c.yaml:2", "c.yaml:3", "c.yaml:3"].map(str::to_owned).to_vec();
    let windows = Windows::new(vec![for_all, allow, deny]).unwrap().standing_at(places);
    let keys: Vec<ServiceKey> = ["shop/web", "blog/api"].iter().map(|key| key.parse().unwrap()).collect();
    let told: Vec<String> = windows.idle(keys.iter()).into_iter().collect();
    let wanted = ["acme/shop/api", "shopp/*"].map(|it| format!("c.yaml:3: no service matches `{it}` of a window"));
    assert_eq!(told, wanted);
    assert!(Windows::default().idle(keys.iter()).is_empty());
}

#[test]
fn it_is_open_inside_any_window_that_allows_and_in_none_that_denies() {
    let allow = |spans: &[&str]| window(WindowEffect::Allow, spans, "Europe/Berlin");
    let deny = |spans: &[&str]| window(WindowEffect::Deny, spans, "Europe/Berlin");
    let office = [allow(&["Mon-Thu 09:00-17:00"]), allow(&["Fri 09:00-12:00"]), deny(&["2026-12-20..2027-01-03"])];
    // Wednesday, in winter an hour ahead of UTC.
    assert_eq!(opens(&office, "2026-11-25T08:00:00Z"), None);
    assert_eq!(opens(&office, "2026-11-25T07:59:59Z").as_deref(), Some("2026-11-25T08:00:00Z"));
    assert_eq!(opens(&office, "2026-11-27T11:00:00Z").as_deref(), Some("2026-11-30T08:00:00Z"));
    // The last day that is named is closed to its end, and the Monday after it opens at nine.
    assert_eq!(opens(&office, "2026-12-21T09:00:00Z").as_deref(), Some("2027-01-04T08:00:00Z"));
    assert_eq!(opens(&[deny(&["2026-12-20..2027-01-03"])], "2026-12-19T22:59:59Z"), None);
    assert_eq!(
        opens(&[deny(&["2026-12-20..2027-01-03"])], "2026-12-19T23:00:00Z").as_deref(),
        Some("2027-01-03T23:00:00Z")
    );
    // Over midnight, and the end of the week.
    let night = [allow(&["Sun 22:00-06:00"])];
    assert_eq!(opens(&night, "2026-11-30T04:59:00Z"), None);
    assert_eq!(opens(&night, "2026-11-30T05:00:00Z").as_deref(), Some("2026-12-06T21:00:00Z"));
    // Years of it are one step.
    let long = [allow(&["Mon-Thu 09:00-17:00"]), deny(&["2026-01-01..2046-12-31"])];
    assert_eq!(opens(&long, "2026-11-30T05:00:00Z").as_deref(), Some("2047-01-01T08:00:00Z"));
    // What always closes says so, and ends.
    assert_eq!(opens(&[deny(&["Mon-Sun"])], "2026-11-30T05:00:00Z").as_deref(), Some("never"));
    let contradiction = [allow(&["Fri 10:00-11:00"]), deny(&["Fri"])];
    assert_eq!(opens(&contradiction, "2026-11-30T05:00:00Z").as_deref(), Some("never"));
    assert_eq!(opens(&[allow(&["2020-01-01..2020-12-31"])], "2026-11-30T05:00:00Z").as_deref(), Some("never"));
    assert_eq!(opens(&[], "2026-11-30T05:00:00Z"), None);
}

#[test]
fn summer_time_moves_the_moments_and_not_the_hours_of_the_clock() {
    let early = [window(WindowEffect::Allow, &["02:30-03:30"], "Europe/Berlin")];
    // 29 March 2026 has no 02:30: the window opens with the jump to 03:00.
    assert_eq!(opens(&early, "2026-03-29T00:00:00Z").as_deref(), Some("2026-03-29T01:00:00Z"));
    assert_eq!(opens(&early, "2026-03-29T01:29:59Z"), None);
    // 25 October 2026 has 02:30 twice.
    assert_eq!(opens(&early, "2026-10-25T00:00:00Z").as_deref(), Some("2026-10-25T00:30:00Z"));
    assert_eq!(opens(&early, "2026-10-25T01:00:00Z").as_deref(), Some("2026-10-25T01:30:00Z"));
}

#[test]
fn services_are_named_by_patterns() {
    for (pattern, key, wanted) in [
        ("shop", "shop/web", true),
        ("shop", "shopping/web", false),
        ("shop", "acme/shop/web", false),
        ("acme", "acme/shop/web", true),
        ("shop/**", "shop/web", true),
        ("shop/web-*", "shop/web-eu", true),
        ("shop/web-*", "shop/api", false),
        ("*/web", "shop/web", true),
        ("*/web", "acme/shop/web", false),
        ("acme/shop", "acme/shop/web", true),
        ("acme/*/web", "acme/shop/web", true),
        ("**/web", "acme/shop/web", true),
        ("**", "acme/shop/web", true),
        ("*", "shop/web", true),
        ("*", "acme/shop/web", true),
    ] {
        let windows = [of_services(window(WindowEffect::Deny, &["Mon-Sun"], "UTC"), &["none", pattern])];
        assert_eq!(closed_at(&windows, key, "2026-11-30T05:00:00Z").is_some(), wanted, "{pattern} {key}");
    }
    for text in ["", "a b", "a//b", "a/b/c/d", "[ab]", "{a,b}", "a\\b", "/a"] {
        assert_eq!(ServicePattern::new(text), None, "{text}");
    }
}

#[test]
fn it_says_which_window_why_and_until_when() {
    let mut windows = [
        window(WindowEffect::Allow, &["Fri 09:00-12:00"], "UTC"),
        window(WindowEffect::Allow, &["Mon-Thu 09:00-17:00"], "Europe/Berlin"),
        window(WindowEffect::Deny, &["2026-12-20..2027-01-03"], "UTC"),
    ];
    windows[1].reason = Some("somebody is there".into());
    windows[2].reason = Some("holidays".into());
    let held = |now| closed_at(&windows, "shop/web", now).unwrap();
    let night = held("2026-11-25T05:00:00Z");
    assert_eq!(&*night.what, "outside the window Mon-Thu 09:00-17:00 (Europe/Berlin): somebody is there");
    assert_eq!((night.kind, night.until), (HoldKind::Window, Some(at("2026-11-25T08:00:00Z"))));
    let thursday = held("2026-11-26T20:00:00Z");
    assert_eq!(&*thursday.what, "outside the window Fri 09:00-12:00 (UTC)", "the one that it waits for");
    let holidays = held("2026-12-24T10:00:00Z");
    assert_eq!(&*holidays.what, "no updates during 2026-12-20..2027-01-03 (UTC): holidays");
    assert_eq!(holidays.until, Some(at("2027-01-04T08:00:00Z")), "a Monday");
    let never = closed_at(&[window(WindowEffect::Deny, &["Mon-Sun"], "UTC")], "shop/web", "2026-12-24T10:00:00Z");
    assert!(never.unwrap().what.ends_with("it never opens: change `windows` in the config file"));
}

/// Four days.
const MINUTES: i64 = 6_000;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Closed until the moment that is told and not before, whatever the windows are: minute by minute.
    #[test]
    fn the_next_opening_is_the_first_minute_that_is_open(
        chosen in prop::collection::vec((any::<bool>(), 0..6_usize, 0..3_usize), 1..5),
        minute in 0..20_000_i64,
    ) {
        let spans = ["Mon-Fri 09:00-17:00", "Sat 22:30-05:15", "02:10-02:50", "Tue", "2026-03-27..2026-03-30", "00:00-12:00"];
        let zones = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];
        let windows: Vec<ChangeWindow> = chosen
            .iter()
            .map(|(allows, span, zone)| {
                let effect = if *allows { WindowEffect::Allow } else { WindowEffect::Deny };
                window(effect, &[spans[*span]], zones[*zone])
            })
            .collect();
        let windows = Windows::new(windows).unwrap();
        let key: ServiceKey = "shop/web".parse().unwrap();
        let now = at("2026-03-20T00:00:00Z") + SignedDuration::from_mins(minute);
        let all: Vec<&ChangeWindow> = windows.all().iter().collect();
        let is_open = |moment: Timestamp| closing(&all, Sends::Update, moment).is_none();
        let first = (0..MINUTES).map(|minutes| now + SignedDuration::from_mins(minutes)).find(|at| is_open(*at));
        match (windows.at(now).closed(&key).updates, first) {
            (None, first) => prop_assert_eq!(first, Some(now)),
            (Some(held), Some(first)) => prop_assert_eq!(held.until, Some(first)),
            (Some(held), None) => {
                let over = now + SignedDuration::from_mins(MINUTES);
                prop_assert!(held.until.is_none_or(|until| until >= over), "{:?}", held);
            }
        }
        // Whoever sleeps until the next change misses nothing.
        if let Some(next) = windows.next_change(now) {
            let minutes = next.duration_since(now).as_mins().min(MINUTES);
            let state = is_open(now);
            prop_assert!((0..minutes).all(|minute| is_open(now + SignedDuration::from_mins(minute)) == state));
        }
    }
}

#[test]
fn ten_thousand_services_and_a_hundred_windows_are_looked_at_once_for_each_set() {
    let windows: Vec<ChangeWindow> = (0..100)
        .map(|number| {
            let window = window(WindowEffect::Allow, &["Mon-Thu 09:00-17:00"], "Europe/Berlin");
            of_services(window, &[&format!("p{number}/**")])
        })
        .collect();
    let windows = Windows::new(windows).unwrap();
    let mut looked = windows.at(at("2026-11-25T05:00:00Z"));
    for service in 0..10_000 {
        let key = format!("p{}/s{service}", service % 100).parse().unwrap();
        assert!(looked.closed(&key).updates.is_some());
    }
    assert_eq!(looked.known.len(), 100);
}
