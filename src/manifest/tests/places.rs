//! Problems stand where the fault is, and say what to do.

use crate::model::{Approval, DependencyGate, DriftMode, Policy, Suspend};

use super::*;
use crate::manifest::text::Source;
use crate::text::command::Commands;

/// The problems of a manifest with this policy; lines count from the policy's first.
fn policy(text: &str) -> Vec<String> {
    let parsed = yaml(format!("{HEAD}  docker: {{configType: default}}\npolicy:\n{text}"));
    assert_eq!(parsed.manifests, [], "{text}");
    lines(&parsed)
}

#[test]
fn every_rule_of_a_policy_has_its_words() {
    let forms = "suspend must be true, false or a map of reason and until, found";
    for (text, expected) in [
        ("suspend:", "7:3 policy.suspend: suspend has no value (add a value, or remove the field)".to_owned()),
        (
            "suspend: 3",
            format!(
                "7:12 policy.suspend: {forms} a number (write suspend: {{reason: maintenance, until: 2027-01-31T18:00:00Z}})"
            ),
        ),
        ("suspend: 'off'", format!("7:12 policy.suspend: {forms} text (write false, without quotes)")),
        (
            "suspend: maintenance",
            format!(
                "7:12 policy.suspend: {forms} text (write suspend: {{reason: maintenance, until: 2027-01-31T18:00:00Z}}, or \
                 true or false)"
            ),
        ),
        (
            "suspend: 2027-01-31T18:00:00+01:00",
            format!("7:12 policy.suspend: {forms} text (write suspend: {{until: 2027-01-31T18:00:00+01:00}})"),
        ),
        (
            "reason: maintenance",
            "7:3 policy.reason: unknown field `reason` (it belongs below suspend: write suspend: {reason: …})"
                .to_owned(),
        ),
        (
            "until: 2027-01-31T18:00:00Z",
            "7:3 policy.until: unknown field `until` (it belongs below suspend: write suspend: {until: …})".to_owned(),
        ),
        (
            "suspend: {untill: 2027-01-31T18:00:00Z}",
            "7:13 policy.suspend.untill: unknown field `untill` (did you mean until?)".to_owned(),
        ),
        ("drift: maybe", "7:10 policy.drift: drift `maybe` does not exist (known: report, correct, off)".to_owned()),
        ("drift: Report", "7:10 policy.drift: drift `Report` does not exist (did you mean report?)".to_owned()),
        ("drift: false", "7:10 policy.drift: drift must be report, correct or off, found false (write off)".to_owned()),
        (
            "drift: true",
            "7:10 policy.drift: drift must be report, correct or off, found true (write report or correct)".to_owned(),
        ),
        ("credentials: ghcr", "7:16 policy.credentials: credentials `ghcr` does not exist (known: none)".to_owned()),
        ("drift:", "7:3 policy.drift: drift has no value (add a value, or remove the field)".to_owned()),
    ] {
        assert_eq!(policy(&format!("  {text}\n")), [expected], "{text}");
    }
}

#[test]
fn every_rule_of_a_suspension_has_its_words() {
    for (text, expected) in [
        ("reason: 3", "reason: reason must be text, found a number (quote it: write '3')"),
        ("reason: ' '", "reason: reason is empty (say why, or leave it out)"),
        ("reason: ''", "reason: reason is empty (say why, or leave it out)"),
        ("reason: [a]", "reason: reason must be text, found a list (write it as one text, as in a shell)"),
        ("until: 2027", "until: until must be a time, found a number (write it as 2027-01-31T18:00:00Z)"),
        ("until: [a]", "until: until must be a time, found a list (write it as 2027-01-31T18:00:00Z)"),
        (
            "until: 2027-03-01",
            "until: until `2027-03-01` is not an RFC 3339 time (add a time and its zone, as 2027-03-01T18:00:00Z)",
        ),
        (
            "until: 2027-03-01T10:00:00",
            "until: until `2027-03-01T10:00:00` is not an RFC 3339 time (add the zone: Z for UTC, or an offset as +01:00)",
        ),
        (
            "until: 2027-03-01 10:00:00Z",
            "until: until `2027-03-01 10:00:00Z` is not an RFC 3339 time (write day, T, time with seconds, and zone, as \
             2027-01-31T18:00:00Z)",
        ),
        (
            "until: 2027-03-01T10:00:00[Europe/Paris]",
            "until: until `2027-03-01T10:00:00[Europe/Paris]` is not an RFC 3339 time (write day, T, time with seconds, and \
             zone, as 2027-01-31T18:00:00Z)",
        ),
        (
            "until: 2027-02-29T10:00:00Z",
            "until: until `2027-02-29T10:00:00Z` is not an RFC 3339 time (there is no such day)",
        ),
        ("until: tomorrow", "until: until `tomorrow` is not an RFC 3339 time (write it as 2027-01-31T18:00:00Z)"),
        ("until: ''", "until: until `` is not an RFC 3339 time (write it as 2027-01-31T18:00:00Z)"),
    ] {
        let (name, column) = (text.split(':').next().unwrap_or_default(), text.find(": ").expect("has a value") + 7);
        let expected = format!("8:{column} policy.suspend.{expected}");
        assert!(expected.contains(&format!("suspend.{name}: ")), "{text}");
        assert_eq!(policy(&format!("  suspend:\n    {text}\n")), [expected], "{text}");
    }
    let long = "é".repeat(Suspend::MAX_REASON_CHARS + 1);
    assert_eq!(
        policy(&format!("  suspend: {{reason: {long}, until: ~}}\n")),
        [
            "7:21 policy.suspend.reason: reason has 1025 characters, more than 1024 (shorten it, and put the rest in a comment)",
            "7:1055 policy.suspend.until: until has no value (add a value, or remove the field)",
        ]
    );
    let hostile = policy("  suspend: {until: \"\\e[2J\\u202e\"}\n");
    assert!(hostile[0].contains("until `\\u{1b}[2J\\u{202e}` is not an"), "{hostile:?}");
    assert!(policy(&format!("  suspend: {{until: {}}}\n", "1-".repeat(9999)))[0].len() < 300);
}

#[test]
fn a_policy_says_what_its_manifest_says() {
    let policy = |text: &str| only(yaml(format!("{HEAD}  docker: {{configType: default}}\npolicy: {text}\n"))).1.policy;
    let suspended = |reason: Option<&str>, until: Option<&str>| Policy {
        suspend: Suspend::Yes { reason: reason.map(Arc::from), until: until.map(|time| time.parse().expect("a time")) },
        drift: None,
        ..Policy::default()
    };
    assert_eq!(policy("{}"), Policy::default());
    assert_eq!(
        policy("{suspend: false, drift: correct}"),
        Policy { drift: Some(DriftMode::Correct), ..Policy::default() }
    );
    assert_eq!(policy("{approval: required}"), Policy { approval: Approval::Required, ..Policy::default() });
    assert_eq!(policy("{approval: none}"), Policy::default());
    assert_eq!(policy("{suspend: true}"), suspended(None, None));
    assert_eq!(policy("{suspend: {}}"), suspended(None, None));
    let until = Some("2027-01-31T17:00:00Z");
    assert_eq!(policy("{suspend: {until: 2027-01-31T18:00:00+01:00}}"), suspended(None, until));
    assert_eq!(policy("\n  suspend:\n    reason: >\n      a\n      b\n"), suspended(Some("a b"), None));
    let named = policy("{dependsOn: [migrate, other/api, acme/shop/db-proxy], gate: accepted}");
    let names: Vec<String> = named.depends_on.iter().map(ToString::to_string).collect();
    assert_eq!(
        (&names[..], named.gate),
        (&["shop/migrate", "other/api", "acme/shop/db-proxy"].map(String::from)[..], DependencyGate::Accepted)
    );
    let end = Suspend::Yes { reason: None, until: Some(jiff::Timestamp::MAX) };
    assert_eq!(policy("{suspend: {until: 9999-12-31T23:59:59Z}}").suspend, end);
}

#[test]
fn what_cannot_be_depended_on_is_told_at_its_entry() {
    let policy = |text: &str| lines(&yaml(format!("{HEAD}  docker: {{configType: default}}\npolicy:\n{text}\n")));
    let told = |text: &str| {
        policy(text).into_iter().map(|line| line.split_once(": ").unwrap().1.to_owned()).collect::<Vec<_>>()
    };
    for (text, expected) in [
        ("  dependsOn: migrate", "dependsOn must be a list, found text"),
        ("  dependsOn: [1]", "an entry of dependsOn must be the name of a service, found a number"),
        ("  dependsOn: [a, shop/a]", "dependsOn names `shop/a` twice"),
        ("  dependsOn: [shop/checkout]", "`shop/checkout` depends on itself"),
        ("  dependsOn: [checkout]", "`shop/checkout` depends on itself"),
        ("  dependsOn: [a/b/c/d]", "`a/b/c/d` is not the name of a service"),
        ("  dependsOn: [shop/]", "`shop/` is not the name of a service: the id `` is empty"),
        ("  dependsOn: [My DB]", "`My DB` is not the name of a service: the id `My DB` has"),
        ("  gate: done", "gate `done` does not exist"),
    ] {
        let told = told(text);
        assert!(matches!(&told[..], [only] if only.starts_with(expected)), "{text}: {told:?}");
    }
    let places = policy("  dependsOn:\n  - a\n  - checkout");
    assert!(places[0].starts_with("9:5 policy.dependsOn.1: "), "{places:?}");
    let many: Vec<String> = (0..101).map(|number| format!("s{number}")).collect();
    assert!(
        told(&format!("  dependsOn: [{}]", many.join(", ")))[0].starts_with("dependsOn has 101 entries, more than 100")
    );
}

/// The problems of a manifest with this spec; lines count from the spec's first.
fn spec(text: &str) -> Vec<String> {
    let parsed = yaml(format!("{HEAD}{text}"));
    assert_eq!(parsed.manifests, []);
    lines(&parsed)
}

#[test]
fn every_rule_of_an_image_has_its_words() {
    assert_eq!(
        spec("  external:\n    imagePath: nginx\n    credentials: a_b\n"),
        [
            "6:16 spec.external.imagePath: imagePath `nginx` names no tag or digest (say which version should run: write \
             nginx:<version>)",
            "7:18 spec.external.credentials: credentials `a_b` is not a credentials id: letters, digits and dashes only (use the id of the saved credentials in Northflank, not its name)",
        ]
    );
    assert_eq!(
        spec("  external: {}\n"),
        ["5:3 spec.external.imagePath: imagePath is missing (add imagePath: the image, with its tag or digest)"]
    );
    let digest = format!("sha256:{}", "0f".repeat(32));
    for (image, expected) in [
        ("''", "is empty (write it as ghcr.io/acme/web:1.8.2: registry, repository and tag)".to_owned()),
        (
            "host:5000/web",
            "`host:5000/web` names no tag or digest: `:5000` is the registry's port (say which version should run: write \
             host:5000/web:<version>)"
                .to_owned(),
        ),
        (
            "'ghcr.io/acme/web:'",
            "`ghcr.io/acme/web:` has an empty tag (say which version should run: write ghcr.io/acme/web:<version>; is a \
             variable for the tag not set?)"
                .to_owned(),
        ),
        (
            "docker://nginx:1.27",
            "`docker://nginx:1.27` begins with `docker://`, which is not part of an image's name (write nginx:1.27)"
                .to_owned(),
        ),
        (
            "'a b:1'",
            "`a b:1` has a blank at position 2, which an image cannot have (write ab:1)".to_owned(),
        ),
        (
            "ghcr.io/Acme/Web:V1",
            "`ghcr.io/Acme/Web:V1` has capital letters in its repository, which is lower case in every registry (write \
             ghcr.io/acme/web:V1)"
                .to_owned(),
        ),
        (
            "img@sha256:abc",
            "`img@sha256:abc` has a digest of 3 digits, and sha256 has 64 (copy the whole digest: sha256: and 64 digits)"
                .to_owned(),
        ),
        (
            &format!("nginx:1.27@{digest}"),
            format!(
                "`nginx:1.27@{}…` has both a tag and a digest, and the API takes only one of them (keep the digest, which \
                 says exactly what runs, and remove `:1.27`)",
                &digest[..69]
            ),
        ),
    ] {
        let expected = format!("5:25 spec.external.imagePath: imagePath {expected}");
        assert_eq!(spec(&format!("  external: {{imagePath: {image}}}\n")), [expected], "{image}");
    }
}

#[test]
fn every_rule_of_a_build_has_its_words() {
    let sha = "4".repeat(39);
    assert_eq!(
        spec(&format!("  internal:\n    id: ab\n    branch: ~\n    buildSHA: a{sha}a\n    buildId: [a]\n")),
        [
            "6:9 spec.internal.id: id `ab` is not a build service id, which has 3 to 54 characters (this one has 2 characters)"
                .to_owned(),
            "7:13 spec.internal.branch: branch has no value (add a value, or remove the field)".to_owned(),
            format!(
                "8:15 spec.internal.buildSHA: buildSHA `a{sha}a` has 41 characters, and a commit has 40 (write the full SHA \
                 of a commit, or latest)"
            ),
            "9:14 spec.internal.buildId: buildId must be text, found a list (write it as one text, as in a shell)"
                .to_owned(),
        ]
    );
}

#[test]
fn a_number_or_truth_in_place_of_text_is_to_be_quoted_as_it_stands() {
    for (value, found) in
        [("8080", "a number"), ("0x1F", "a number"), ("1e5", "a number"), ("True", "true"), ("-.inf", "a number")]
    {
        assert_eq!(
            spec(&format!("  internal:\n    id: abc\n    branch: {value} # why\n")),
            [format!("7:13 spec.internal.branch: branch must be text, found {found} (quote it: write '{value}')")]
        );
    }
    let parsed = json(
        r#"{"apiVersion": "truenorth/v1", "kind": 1, "metadata": {"projectId": "a", "serviceId": "b"},
        "spec": {"docker": {"configType": "customCommand", "customCommand": 8080}}}"#,
    );
    assert_eq!(
        lines(&parsed),
        [
            r#"1:40 kind: kind must be text, found a number (quote it: write "1")"#,
            r#"2:77 spec.docker.customCommand: customCommand must be text, found a number (quote it: write "8080")"#,
        ]
    );
    assert_eq!(parsed.claimed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a/b"]);
}

#[test]
fn a_commit_that_is_short_or_a_number_is_told_all_of_it_at_once() {
    let sha = "1".repeat(40);
    let number = "buildSHA must be text of 40 characters, found a number";
    for (value, expected) in [
        (&*sha, format!("{number} (quote it: write '{sha}')")),
        ("12345e10", format!("{number} (it has 8: write all 40 characters, in quotes)")),
        ("1234567", format!("{number} (it has 7: write all 40 characters, in quotes)")),
        (
            "4f2a91c",
            "buildSHA `4f2a91c` has 7 characters, and a commit has 40 (write all 40 characters: `git rev-parse 4f2a91c` \
             prints them)"
                .to_owned(),
        ),
        (
            "Latest",
            "buildSHA `Latest` has 6 characters, and a commit has 40 (write the full SHA of a commit, or latest)".to_owned(),
        ),
        ("true", "buildSHA must be text, found true (quote it: write 'true')".to_owned()),
    ] {
        let found = spec(&format!("  internal:\n    id: abc\n    buildSHA: {value} # why\n"));
        assert_eq!(found, [format!("7:15 spec.internal.buildSHA: {expected}")]);
    }
}

#[test]
fn every_rule_of_a_runtime_has_its_words() {
    assert_eq!(
        spec("  docker:\n    configType: customEntrypointCustomCommand\n  buildpack: {configType: customProces}\n"),
        [
            "6:17 spec.docker.customCommand: configType customEntrypointCustomCommand requires customCommand (add customCommand)",
            "6:17 spec.docker.customEntrypoint: configType customEntrypointCustomCommand requires customEntrypoint (add \
             customEntrypoint)",
            "7:27 spec.buildpack.configType: configType `customProces` does not exist (did you mean customProcess?)",
        ]
    );
    assert_eq!(
        spec("  docker: {}\n"),
        [
            "5:3 spec.docker.configType: configType is missing (add configType: one of default, customEntrypoint, customCommand, customEntrypointCustomCommand)"
        ]
    );
    assert_eq!(spec("  docker:\n"), ["5:3 spec.docker: docker has no value (add a value, or remove the field)"]);
}

#[test]
fn the_forms_exclude_each_other() {
    let (external, internal) = ("  external: {imagePath: 'a:1'}\n", "  internal: {id: abc}\n");
    let hint = "(keep external for an image in a registry, or internal for a Northflank build)";
    assert_eq!(
        spec(&format!("{external}{internal}")),
        [format!("6:3 spec.internal: external and internal cannot be used together {hint}")]
    );
    assert_eq!(
        spec(&format!("{internal}{external}")),
        [format!("6:3 spec.external: external and internal cannot be used together {hint}")]
    );
    assert_eq!(
        spec(&format!("{external}  buildpack: {{configType: default}}\n")),
        ["6:3 spec.buildpack: buildpack cannot be used with external (use docker to set how an external image starts)"]
    );
    let hint = "(add external, internal, docker or buildpack)";
    assert_eq!(spec("  {}\n"), [format!("5:3 spec: spec is empty {hint}")]);
    assert_eq!(spec(""), ["4:1 spec: spec has no value (add a value)"]);
    assert_eq!(
        spec("  - a\n"),
        ["5:3 spec: spec must be a map of fields, found a list (write its fields below it, indented)"]
    );
}

#[test]
fn unknown_and_double_fields_are_shown_at_their_keys() {
    assert_eq!(
        spec(
            "  imagePath: a:1\n  docker:\n    configType: default\n    customcommand: x\n    configType: default\nspecs: 1\n<<: {a: b}\n8: x\n"
        ),
        [
            "5:3 spec.imagePath: unknown field `imagePath` (did you mean spec.external.imagePath?)",
            "8:5 spec.docker.customcommand: unknown field `customcommand` (did you mean customCommand?)",
            "9:5 spec.docker.configType: configType is given twice (the first one is on line 7; keep one of them)",
            "10:1 specs: unknown field `specs` (did you mean spec?)",
            "11:1 <<: unknown field `<<` (merge keys are not allowed in manifests: write the fields out, or use an alias for \
             a whole value)",
            "12:1 ?: a field name must be text, found a number (write a name of letters; one of another kind in quotes)",
        ]
    );
    let text = "{\"apiVersion\": \"truenorth/v1\", \"kind\": \"ServiceDeployment\", \"kind\": \"ServiceDeployment\",\n \"metadata\": \
                {\"projectId\": \"a\", \"serviceId\": \"b\"}, \"spec\": {\"docker\": {\"configType\": \"default\"}}}";
    assert_eq!(lines(&json(text)), ["1:61 kind: kind is given twice (the first one is on line 1; keep one of them)"]);
}

#[test]
fn the_head_of_a_manifest_is_checked() {
    let good = "metadata: {projectId: shop, serviceId: web}\nspec: {docker: {configType: default}}\n";
    let problems = |head: &str| lines(&yaml(format!("{head}{good}")));
    assert_eq!(
        problems("apiVersion: truenorth/v2\nkind: Servicedeployment\n"),
        [
            "1:13 apiVersion: apiVersion is `truenorth/v2`, expected truenorth/v1 (did you mean truenorth/v1?)",
            "2:7 kind: kind is `Servicedeployment`, expected ServiceDeployment (did you mean ServiceDeployment?)",
        ]
    );
    assert_eq!(
        problems("kind: ServiceDeployment\n"),
        ["1:1 apiVersion: apiVersion is missing (add apiVersion: truenorth/v1)"]
    );
    let ignore = "(if this is not a truenorth manifest, name the file in .truenorthignore)";
    assert_eq!(
        problems("apiVersion: apps/v1\nkind: Deployment\n"),
        [format!("1:1 : this is Deployment of apps/v1, expected ServiceDeployment of truenorth/v1 {ignore}")]
    );
    assert_eq!(
        lines(&yaml("services:\n  web: {}\n")),
        [format!("1:1 : this is not a manifest: apiVersion and kind are missing {ignore}")]
    );
    assert_eq!(lines(&yaml("- a\n")), [format!("1:1 : a manifest is a map of fields, found a list {ignore}")]);
    assert_eq!(
        lines(&yaml(
            "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata: {projectId: a/b, serviceId: '', team: x}\npolicy: \
             {suspend: yes}\n"
        )),
        [
            "1:1 spec: spec is missing (add spec, with external, internal, docker or buildpack below it)",
            "3:23 metadata.projectId: projectId `a/b` has `/` at position 2; an id has only letters a to z, digits and dashes \
             (did you mean a-b?)",
            "3:39 metadata.serviceId: serviceId is empty (use the id from the URL of its page in Northflank, not its name)",
            "3:43 metadata.team: unknown field `team` (did you mean teamId?)",
            "4:19 policy.suspend: suspend must be true, false or a map of reason and until, found text (write true, without quotes)",
        ]
    );
}

#[test]
fn texts_that_are_no_yaml_are_shown_where_they_break() {
    for (text, expected) in [
        ("a: b\n\tc: d\n", "2:1 : a tab is used for indentation (YAML allows only spaces here)"),
        ("a:\r\n  b: c\r\n  \td: e\r\n", "3:3 : a tab is used for indentation (YAML allows only spaces here)"),
        (
            "a: \"b\nc: d\n",
            "1:4 : the quote that opens here is never closed (close it with the same kind of quote, or remove it)",
        ),
        (
            "a: b: c\n",
            "1:5 : a colon where no field can start (quote a value that has `: ` in it, or check the indentation)",
        ),
        ("a: @b\n", "1:4 : a value cannot start with `@` (quote the value)"),
        (
            "a: *b\n",
            "1:4 : the alias refers to an anchor that is not defined before it (write the value itself, or give it an anchor further up in the same document)",
        ),
        (
            "a: 'it's'\n",
            "1:8 : there is text after the closing quote (inside single quotes a quote is written twice: '')",
        ),
        ("a: 1\nb:\n  c: 1\n d: 2\n", "4:2 : expected a field here (check the indentation of this line)"),
        (
            "a: é\u{2028}\n",
            "1:5 : YAML readers disagree about the invisible character U+2028 (remove it, or write \\u2028 inside double quotes)",
        ),
        (
            "a: b\n... c\n",
            "2:5 : there is text after the `...` that ends the document (remove it, or begin another document with a line of ---)",
        ),
        (
            "a: {b: c\nd: e",
            "2:2 : not valid YAML: while parsing a flow mapping, did not find expected ',' or '}' (look at the quotes, colons and indentation of this line and the one before it)",
        ),
    ] {
        assert_eq!(lines(&yaml(text)).first().map(String::as_str), Some(expected), "{text:?}");
    }
    for (text, expected) in [
        ("{\"a\": [1,]}", "1:10 : not valid JSON: a comma before the closing bracket (remove the comma)"),
        ("{}\n{}", "2:1 : there is text after the end of the document (a JSON file has one document)"),
        ("{\"é\": x}", "1:7 : not valid JSON: expected value (look at the quotes, commas and brackets up to here)"),
        ("# c\n{}", "1:1 : not valid JSON: expected value (look at the quotes, commas and brackets up to here)"),
    ] {
        assert_eq!(lines(&json(text)), [expected], "{text:?}");
    }
}

#[test]
fn a_bad_document_hides_no_other() {
    let good = format!("{HEAD}  docker: {{configType: default}}\n");
    let bad = good.replace("default", "defualt");
    let parsed = yaml(format!("{good}---\na: 'b\n---\n{bad}---\n{}", good.replace("checkout", "search")));
    let keys: Vec<_> = parsed.manifests.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["shop/checkout", "shop/search"]);
    assert_eq!(parsed.claimed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["shop/checkout"]);
    assert_eq!(
        lines(&parsed),
        [
            "7:4 : the quote that opens here is never closed (close it with the same kind of quote, or remove it)",
            "13:24 spec.docker.configType: configType `defualt` does not exist (did you mean default?)",
        ]
    );
}

#[test]
fn an_alias_is_shown_where_its_value_stands() {
    let text = "  external:\n    imagePath: &image nginx\n    credentials: *image\n  docker: {configType: &type [a], customCommand: *type}\n";
    assert_eq!(
        spec(text),
        [
            "6:23 spec.external.imagePath: imagePath `nginx` names no tag or digest (say which version should run: write \
             nginx:<version>)",
            "8:30 spec.docker.configType: configType must be text, found a list (write it as one text, as in a shell)",
            "8:30 spec.docker.customCommand: customCommand must be text, found a list (write it as one text, as in a shell)",
        ]
    );
}

#[test]
fn a_tag_is_refused_where_it_stands() {
    let hint = "(remove the tag; quote the value if it must be text)";
    for tag in ["!!str", "!", "!a", "!<tag:yaml.org,2002:str>", "!!int"] {
        let found = spec(&format!("  docker: {{configType: {tag} default}}\n"));
        assert_eq!(found, [format!("5:24 : YAML tags are not allowed in manifests {hint}")], "{tag}");
    }
    let text = "  docker: {configType: customCommand, customCommand: 'test ! -e a && echo *'}\n";
    only(yaml(format!("{HEAD}{text}")));
}

/// The first problem of a text, drawn.
fn drawn(parsed: &Parsed) -> String {
    format!("\n{}\n", Drawing::default().of(&parsed.problems[0], "manifests/a.yaml"))
}

#[test]
fn a_problem_is_drawn_with_its_line_a_caret_and_a_hint() {
    let text = format!("{HEAD}  external:\r\n    imagePath: nginx # 日本\r\n").replace(":\n", ":\r\n");
    assert_eq!(
        drawn(&yaml(text)),
        "
error: imagePath `nginx` names no tag or digest
 --> manifests/a.yaml:6:16
  |
6 |     imagePath: nginx # 日本
  |                ^^^^^
  |
  = hint: say which version should run: write nginx:<version>
"
    );
    let text = format!("{HEAD}  docker: {{configType: default, 日本: 1, customCommand: 8080}}\n");
    let parsed = yaml(text);
    assert_eq!(
        lines(&parsed)[1],
        "5:55 spec.docker.customCommand: customCommand must be text, found a number (quote it: write '8080')"
    );
    assert_eq!(
        format!("\n{}\n", Drawing::default().of(&parsed.problems[1], "a.yaml")),
        "
error: customCommand must be text, found a number
 --> a.yaml:5:55
  |
5 |   docker: {configType: default, 日本: 1, customCommand: 8080}
  |                                                         ^^^^
  |
  = hint: quote it: write '8080'
"
    );
}

#[test]
fn a_json_problem_is_drawn_too() {
    let text = "{\n\t\"apiVersion\": \"truenorth/v1\",\n\t\"kind\": \"ServiceDeployment\",\n\t\"metadata\": {\"projectId\": \"shop\", \
                \"serviceId\": \"\\u0077eb\"},\n\t\"spec\": {\"docker\":\n\t\t{\"configType\" : \"none\"}}\n}\n";
    assert_eq!(
        drawn(&json(text)),
        "
error: configType `none` does not exist
 --> manifests/a.yaml:6:19
  |
6 |         {\"configType\" : \"none\"}}
  |                         ^^^^^^
  |
  = hint: known: default, customEntrypoint, customCommand, customEntrypointCustomCommand
"
    );
}

#[test]
fn a_problem_of_a_file_or_document_is_drawn_without_a_line() {
    let file = Arc::from("shop/a.yaml");
    let problem = Problem::of_file(&file, "the file is a pipe", "remove it");
    let place = Place { file, line: 7 };
    assert_eq!(
        format!("\n{}\n", Drawing::default().of(&problem, "m/shop/a.yaml")),
        "
error: the file is a pipe
--> m/shop/a.yaml:1:1
 = hint: remove it
"
    );
    assert_eq!(Problem::of_document(&place, "twice", "keep one of them").line, 7);
    assert!(Drawing { styled: true, ..Drawing::default() }.of(&problem, "a").contains("\u{1b}["));
}

#[test]
fn of_a_long_line_the_piece_at_fault_is_drawn() {
    let text = format!(
        "{HEAD}  docker: {{configType: 'x', customCommand: '{}', customEntrypoint: 8080, {}: 1}}\n",
        "é ".repeat(2000),
        "k".repeat(900)
    );
    let parsed = yaml(text);
    let [_, number, unknown] = parsed.problems.as_slice() else { panic!("{:?}", lines(&parsed)) };
    let drawing = Drawing::default().of(number, "a.yaml");
    assert!(drawing.contains("a.yaml:5:4066"), "{drawing}");
    assert!(drawing.lines().all(|line| line.chars().count() < 400), "{drawing}");
    assert!(drawing.contains("customEntrypoint: [hidden] [hidden]"), "{drawing}");
    assert!(unknown.message.chars().count() < 120 && unknown.path.chars().count() < 120);
}

#[test]
fn a_problem_serialises_to_what_the_design_shows() {
    let parsed = yaml(format!("{HEAD}  external: {{imagePath: nginx}}\n"));
    assert_eq!(
        serde_json::to_value(&parsed.problems[0]).expect("is JSON"),
        serde_json::json!({"file": "shop/checkout.yaml", "line": 5, "column": 25, "path": "spec.external.imagePath",
            "message": "imagePath `nginx` names no tag or digest", "hint": "say which version should run: write nginx:<version>"})
    );
}

#[test]
fn what_messages_repeat_of_the_input_is_bounded_and_escaped() {
    let parsed = yaml(format!("{HEAD}  external: {{imagePath: \"\\e[31m\\u202e{}\"}}\n", "x".repeat(500)));
    let message = &parsed.problems[0].message;
    assert!(message.starts_with("imagePath `\\u{1b}[31m\\u{202e}xxx") && message.chars().count() < 200, "{message}");
}

#[test]
fn a_files_name_says_its_format() {
    for (name, format) in [
        ("a/b.yaml", Some(Format::Yaml)),
        ("b.yml", Some(Format::Yaml)),
        ("b.json", Some(Format::Json)),
        ("b.YAML", None),
        (".yaml", None),
        ("yaml", None),
        ("b.yaml.bak", None),
    ] {
        assert_eq!(Format::of(Path::new(name)), format, "{name}");
    }
}

#[test]
fn a_drawing_shows_only_harmless_words_of_a_command() {
    for (line, shown) in [
        ("customCommand: node server.js --token hunter2", "customCommand: node server.js --token [hidden]"),
        ("customCommand: \"node --token hunter2\"", "customCommand: \"node --token [hidden]\""),
        ("customCommand: \"node --token hunter2", "customCommand: [hidden]"),
        ("\"customEntrypoint\": \"sh -c hunter2\", \"x\": 1}", "\"customEntrypoint\": [hidden] [hidden] [hidden]}"),
        ("customComand: node --token hunter2", "customComand: node --token [hidden]"),
        ("{DB_PASSWORD: hunter2}", "{DB_PASSWORD: [hidden]}"),
        ("server.js --token hunter2 \\", "server.js --token [hidden] [hidden]"),
        ("hunter2", "[hidden]"),
        ("swordfish --port 8080", "[hidden] --port 8080"),
        ("# customCommand: x --token hunter2", "# customCommand: x --token [hidden]"),
        ("imagePath: nginx", "imagePath: nginx"),
        ("credential: ghcr", "credential: ghcr"),
        ("docker: {configType: default}", "docker: {configType: default}"),
    ] {
        let file: Arc<str> = "a.yaml".into();
        let text = format!("  {line}\n");
        let source = Source::decode(&file, text.as_bytes()).unwrap();
        for at in 0..text.len() {
            let problem = source.problem(at..at + 1, String::new(), "x".into(), "y");
            let drawing = Drawing::default().of(&problem, "a.yaml");
            let has =
                |drawing: &str, line: &str| drawing.lines().any(|drawn| drawn.trim_end() == format!("1 |   {line}"));
            // A line of which nothing can be shown is left out.
            assert_eq!(has(&drawing, shown), shown != "[hidden]", "{line} at {at}: {drawing}");
            assert!(!drawing.contains(" ::: "), "{line} at {at}: {drawing}");
            let whole = Drawing { commands: Commands::Shown, ..Drawing::default() }.of(&problem, "a.yaml");
            assert!(has(&whole, line), "{whole}");
        }
    }
}
