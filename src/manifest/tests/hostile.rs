//! Texts made to hang, crash or fill the memory get their problem, and nothing else happens.

use proptest::prelude::*;

use super::super::documents;
use super::*;

const MIB: usize = MAX_BYTES;

/// The problems' messages, after checks that hold for every text.
fn messages(parsed: &Parsed) -> Vec<&str> {
    assert!(parsed.problems.len() <= MAX_PROBLEMS + 1, "{} problems", parsed.problems.len());
    assert!(parsed.problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
    for problem in &parsed.problems {
        assert!(problem.message.chars().count() < 300 && problem.path.len() < 1000, "{problem:?}");
        assert!(problem.hint.as_ref().is_none_or(|hint| hint.chars().count() < 300), "{problem:?}");
        let size = problem.excerpt.as_ref().map_or(0, |excerpt| excerpt.text.len());
        assert!(size < 1000 && Drawing::default().of(problem, "file").len() < 10_000);
    }
    parsed.problems.iter().map(|problem| problem.message.as_str()).collect()
}

#[test]
fn nesting_without_end_is_refused_in_yaml() {
    let deeper: String = (0..1400).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    for text in [
        "[".repeat(100_000),
        "[".repeat(MIB),
        format!("{}{}", "[".repeat(MIB / 2), "]".repeat(MIB / 2)),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
        "{? ".repeat(100_000),
        format!("{HEAD}  docker: {}", "[".repeat(100_000)),
        deeper,
        "- ".repeat(100),
        "[".repeat(100) + &"]".repeat(100),
        "a: &a [*a]".into(),
    ] {
        assert_eq!(messages(&yaml(&text)), ["the document is nested more than 64 levels deep"], "{:.40}", text);
    }
}

#[test]
fn the_deepest_nesting_is_the_same_for_all_readers() {
    for (open, close) in [("[", "]"), ("- ", ""), ("{a: ", "}")] {
        let nested = |depth: usize| format!("{}a{}", open.repeat(depth), close.repeat(depth));
        // A long comment has the document looked at first; without it libyaml reads it at once.
        for comment in ["", &format!("\n# {}", "c".repeat(SMALL))] {
            let deepest = yaml(nested(64) + comment);
            assert!(!messages(&deepest)[0].contains("nested"), "{open} {:?}", lines(&deepest));
            assert!(messages(&yaml(nested(65) + comment))[0].contains("nested"), "{open}");
        }
    }
}

#[test]
fn nesting_without_end_is_refused_in_json() {
    for text in ["[".repeat(MIB), "{\"a\":".repeat(100_000)] {
        assert_eq!(messages(&json(&text)), ["the document is nested more than 64 levels deep"]);
    }
}

#[test]
fn values_without_end_are_refused() {
    let many = "the document has more than 10000 values, or its aliases expand to more";
    let numbered = |line: fn(usize) -> String| (0..50_000).map(line).collect::<String>();
    for text in [
        format!("[{}]", "a,".repeat(MIB / 2 - 1)),
        "-\n".repeat(MIB / 2),
        "- &a x\n- *a\n".repeat(20_000),
        numbered(|number| format!("- &a{number} x\n")),
        numbered(|number| format!("k{number}: a\n")),
        "- !a x\n".repeat(50_000),
        format!("[{}]", ("[".repeat(60) + &"]".repeat(60) + ",").repeat(8000)),
    ] {
        assert_eq!(messages(&yaml(&text)), [many], "{:.40}", text);
    }
    assert_eq!(messages(&json(format!("[{}1]", "1,".repeat(500_000)))), [many]);
}

#[test]
fn an_alias_bomb_does_not_unfold() {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let uses = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
    }
    assert_eq!(messages(&yaml(&text)), ["the document has more than 10000 values, or its aliases expand to more"]);

    let text = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(1000));
    assert_eq!(messages(&yaml(&text)), ["the document has aliases that expand to too much text"]);
}

#[test]
fn long_texts_are_read_or_refused_in_little_space() {
    for text in [
        "a".repeat(MIB),
        "a ".repeat(MIB / 2),
        "a\n".repeat(MIB / 2),
        "\"".to_owned() + &"b".repeat(MIB - 1),
        "a: b".to_owned() + &"\n".repeat(MIB - 10) + " c",
        "\t".repeat(MIB - 1) + "a",
        "\0".repeat(MIB),
        "#".repeat(MIB),
        "\n".repeat(MIB),
        "%a\n".repeat(MIB / 3) + "a",
        (0..60_000).map(|number| format!("%TAG !a{number}! x\n")).collect::<String>() + "---\na: b\n",
        "&a *a ".repeat(MIB / 6),
        "a,".repeat(MIB / 2),
        "!".repeat(MIB),
        "[a]: ".repeat(MIB / 5),
        "é".repeat(MIB / 2),
        "\u{a0}".repeat(MIB / 2),
        "x\u{a0}".repeat(MIB / 3),
        "{{ ".repeat(MIB / 3),
        "a: {{\n".repeat(MIB / 6),
        "--- =======\n=======\n".repeat(MIB / 20),
        "<<<<<<<\n".repeat(MIB / 8),
        format!("{HEAD}  external: {{imagePath: '{}'}}\n", "${".repeat(MIB / 4)),
        "\r".repeat(MIB),
        "{\"".to_owned() + &"k".repeat(MIB - 10) + "\": 1}",
        format!("{}: 1", "k".repeat(MIB - 10)),
        format!("{HEAD}  {}: 1\n", "k".repeat(900)),
        format!("{HEAD}  external: {{imagePath: '{}'}}\n", "x".repeat(MIB / 2)),
    ] {
        assert_ne!(messages(&yaml(&text)), [""; 0], "{:.40}", text);
        assert_ne!(messages(&json(&text)), [""; 0], "{:.40}", text);
    }
    let of = |bytes| {
        let long = "x".repeat(bytes);
        yaml(format!("{HEAD}  docker: {{configType: customCommand, customCommand: '{long}'}}\n"))
    };
    assert_eq!(messages(&of(64 * 1024)), [""; 0]);
    for bytes in [64 * 1024 + 1, MIB / 2] {
        assert_eq!(messages(&of(bytes)), ["customCommand is longer than 64 KiB"]);
    }
    assert_eq!(messages(&yaml("x".repeat(MIB + 1))), ["the file is larger than 1 MiB"]);
}

#[test]
fn documents_and_problems_without_end_are_counted() {
    let parsed = yaml("--- a\n".repeat(MIB / 6));
    let messages = messages(&parsed);
    assert_eq!(messages.len(), MAX_PROBLEMS + 1);
    assert_eq!(messages.last().copied(), Some("and 173762 more problems in this file"));
    assert_eq!(yaml("---\n".repeat(MIB / 4)).problems.len(), 1);

    let unknown: String = (0..3000).map(|number| format!("  k{number}: 1\n")).collect();
    let parsed = yaml(format!("{HEAD}{unknown}"));
    assert_eq!(parsed.problems.len(), check::MAX_FINDINGS + 1);
    assert_eq!(
        lines(&parsed).last().map(String::as_str),
        Some("3004:11 : and 2900 more problems in this document (fix those that are shown; the others are shown then)")
    );
}

#[test]
fn what_is_no_text_says_so() {
    for (bytes, expected) in [
        (&b"a: caf\xe9\n"[..], "1:7 : the file is not UTF-8: invalid byte 0xe9 (save the file as UTF-8)"),
        (b"a: b\r\n# \xc3\xa9 \xff", "2:5 : the file is not UTF-8: invalid byte 0xff (save the file as UTF-8)"),
        (b"\xff\xfea\0:\0", "1:1 : the file is UTF-16, expected UTF-8 (save the file as UTF-8)"),
        (b"a\0:\0", "1:2 : the control character U+0000 is not allowed (save the file as UTF-8 text)"),
        (
            b"a: \x1b[31m",
            "1:4 : the control character U+001B is not allowed (remove it, or escape it in double quotes)",
        ),
    ] {
        assert_eq!(lines(&yaml(bytes)), [expected]);
    }
    for (bytes, expected) in [
        (&b""[..], "1:1 : the file is empty (remove the file, or name it in .truenorthignore)"),
        (b" \n", "1:1 : the file is empty (remove the file, or name it in .truenorthignore)"),
    ] {
        assert_eq!(lines(&json(bytes)), [expected]);
        assert_eq!(lines(&yaml(bytes)), [expected]);
    }
}

#[test]
fn an_anchor_given_anew_is_refused() {
    // serde_yaml would take `*a` for what `&b` stands at.
    let text = format!("{HEAD}  docker: {{configType: &a default, customCommand: &a x, customEntrypoint: &b *a }}\n");
    assert!(!yaml(&text).problems.is_empty());
    let text = "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata: {projectId: &a shop, serviceId: &a web, \
                teamId: &b acme}\nspec: {docker: {configType: customCommand, customCommand: *a}}\n";
    let parsed = yaml(text);
    assert_eq!(parsed.manifests, []);
    assert_eq!(lines(&parsed), ["3:43 : this anchor is defined twice (rename one of them)"]);
}

/// What the readers make of a text must have one shape, or a problem would be shown at another value's place.
fn assert_same_shape(text: &str) {
    if text.contains(syntax::UNCLEAR) {
        return;
    }
    for document in documents::split(text) {
        let Ok(outline) = Outline::read(document.text) else { continue };
        let budget = Budget::new();
        let Ok(tree) = budget.seed().deserialize(serde_yaml::Deserializer::from_str(document.text)) else { continue };
        if outline.repeated_anchors.is_empty() {
            shape(&tree, &outline, &mut Vec::new(), text);
        }
    }
}

fn shape(node: &Node<'_>, outline: &Outline, steps: &mut Vec<u32>, text: &str) {
    let children: Vec<&Node<'_>> = match node {
        Node::List(items) => items.iter().collect(),
        Node::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
        _ => Vec::new(),
    };
    assert_eq!(outline.children(steps), Some(children.len()), "{text:?} at {steps:?}");
    for (child, step) in children.into_iter().zip(0..) {
        steps.push(step);
        shape(child, outline, steps, text);
        steps.pop();
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "- ",
        "? ",
        ": ",
        "&a ",
        "&b ",
        "*a ",
        "*b ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\n",
        "\n",
        "\n  ",
        "\n    ",
        "\t",
        "!x ",
        "!!str ",
        "|",
        ">-",
        "'",
        "\"",
        "---\n",
        "...\n",
        "# c",
        "%YAML 1.2\n",
        "a",
        "b: c",
        "a: b\n",
        "spec",
        "8080",
        "~",
        "é",
        "日",
        "\u{feff}",
        "\u{2028}",
        "\r\n",
        "\\",
        "\0",
        "<<: *a\n",
        "%",
        "@",
        "`",
        "\"a\": ",
        "  ",
    ]);
    prop::collection::vec(piece, 0..25).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30000))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for parsed in [yaml(&bytes), json(&bytes)] {
            prop_assert!(!messages(&parsed).is_empty());
        }
    }

    #[test]
    fn no_text_panics_and_the_readers_see_one_shape(text in pieces()) {
        for parsed in [yaml(&text), json(&text)] {
            prop_assert!(!messages(&parsed).is_empty());
        }
        assert_same_shape(&text);
    }

    #[test]
    fn a_manifest_with_something_put_in_never_panics(text in pieces(), at in 0_usize..200) {
        let good = format!("{HEAD}  docker:\n    configType: customCommand\n    customCommand: 'é 8080'\npolicy: {{suspend: true}}\n");
        let at = (0..=at).rev().find(|at| good.is_char_boundary(*at)).unwrap_or_default();
        let text = format!("{}{text}{}", &good[..at], &good[at..]);
        let parsed = yaml(&text);
        let _ = messages(&parsed);
        prop_assert!(!parsed.manifests.is_empty() || !parsed.problems.is_empty());
        assert_same_shape(&text);
    }
}
