//! What people and their tools get wrong, and what they read then.

use super::*;

/// A good manifest, in which each mistake is made.
const GOOD: &str = "apiVersion: truenorth/v1
kind: ServiceDeployment
metadata:
  projectId: shop
  serviceId: checkout
spec:
  external:
    imagePath: ghcr.io/acme/checkout:1.8.2
    credentials: ghcr
";

/// A manifest of a build, in which the same is done.
const BUILD: &str = "apiVersion: truenorth/v1
kind: ServiceDeployment
metadata: {projectId: shop, serviceId: checkout}
spec:
  internal:
    id: checkout-build
    branch: main
    buildSHA: 4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f
";

/// Another command than the image's.
const COMMAND: &str = "  docker:\n    configType: customCommand\n    customCommand: node server.js\n";

const DIGEST: &str = "sha256:0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c0f5b1a2c";

/// The good manifest with one text in place of another.
fn instead(of: &str, text: &str) -> String {
    assert!(GOOD.contains(of), "{of}");
    GOOD.replacen(of, text, 1)
}

fn image(image: &str) -> String {
    instead("ghcr.io/acme/checkout:1.8.2", image)
}

fn command(command: &str) -> String {
    format!("{GOOD}{}", COMMAND.replace("node server.js", command))
}

/// Each mistake with its manifest.
fn mistakes() -> Vec<(&'static str, String)> {
    vec![
        ("no tag", image("ghcr.io/acme/checkout")),
        ("a port and no tag", image("registry.acme.io:5000/checkout")),
        ("a variable for the tag was empty", image("'ghcr.io/acme/checkout:'")),
        ("tag and digest, as Renovate writes them", image(&format!("nginx:1.27@{DIGEST}"))),
        ("a digest and a port", image(&format!("localhost:5000/web@{DIGEST}"))),
        ("half a digest", image("ghcr.io/acme/checkout@sha256:0f5b1a2c")),
        ("a digest without its algorithm", image(&format!("web@{}", &DIGEST[7..]))),
        ("as skopeo writes images", image("docker://ghcr.io/acme/checkout:1.8.2")),
        ("a URL", image("https://ghcr.io/acme/checkout:1.8.2")),
        ("a browser's address", image("https://hub.docker.com/_/nginx")),
        ("capital letters", image("ghcr.io/Acme/Checkout:1.8.2")),
        ("a blank in the image", image("ghcr.io/acme/checkout :1.8.2")),
        ("a tag that moves", image("ghcr.io/acme/checkout:latest")),
        ("a template that was not rendered", image("ghcr.io/acme/checkout:{{ .Values.tag }}")),
        ("a template in place of a value", image("{{ .Values.image }}")),
        ("a template's control lines", instead("spec:", "{{- if .Values.on }}\nspec:") + "{{- end }}\n"),
        ("a variable that was not replaced", image("ghcr.io/acme/checkout:${TAG}")),
        ("variables everywhere", instead("projectId: shop", "projectId: ${PROJECT}").replace("1.8.2", "$TAG")),
        ("a template in a command", command("'serve --host {{ .Values.host }} --port ${PORT}'")),
        ("a name in place of an id", instead("shop", "My Shop")),
        ("a Cyrillic letter", instead("shop", "sh\u{43e}p")),
        ("an underscore", instead("checkout", "check_out")),
        ("no id", instead(" shop", "")),
        (
            "a merge conflict",
            instead(
                "    imagePath: ghcr.io/acme/checkout:1.8.2\n",
                "<<<<<<< HEAD\n    imagePath: ghcr.io/acme/checkout:1.8.2\n=======\n    imagePath: ghcr.io/acme/checkout:1.9.0\n>>>>>>> next\n",
            ),
        ),
        ("half of a merge conflict", instead("spec:\n", "spec:\n=======\n")),
        ("a git LFS pointer", format!("version https://git-lfs.github.com/spec/v1\noid {DIGEST}\nsize 312\n")),
        ("no-break spaces, copied from a page", GOOD.replace("  ", "\u{a0}\u{a0}")),
        ("a no-break space after a colon", instead("kind: ", "kind:\u{a0}")),
        ("a no-break space in a command", command("node\u{a0}server.js")),
        ("an invisible character in a tag", image("ghcr.io/acme/checkout:1.8.2\u{200b}-a")),
        ("a Cyrillic letter in an image", image("ngin\u{445}:1.27")),
        ("a tab", instead("    credentials", "\tcredentials")),
        ("a short commit", BUILD.replace("4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f", "4f2a91c")),
        ("a short commit of digits", BUILD.replace("4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f", "4091107")),
        ("a whole commit of digits", BUILD.replace("4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f", &"4".repeat(40))),
        ("no commit", BUILD.replace("4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f", "HEAD")),
        ("a colon in a command", command("echo a: b")),
        ("a command as a list, as in a Dockerfile", command("[node, server.js]")),
        ("a number for a command", command("8080")),
        ("a field of Kubernetes", instead("external:\n    imagePath", "external:\n    image")),
        ("a field of another place", format!("{GOOD}customCommand: x\n")),
        ("a word that is nearly right", command("x").replace("customCommand\n", "customComand\n")),
        ("a Kubernetes manifest", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n".to_owned()),
        ("a Compose file", "services:\n  web:\n    image: nginx\n".to_owned()),
        ("both forms", format!("{GOOD}  internal: {{id: checkout-build}}\n")),
        ("an open quote", instead("ghcr\n", "\"ghcr\n")),
        ("yes for true", format!("{GOOD}policy: {{suspend: yes}}\n")),
    ]
}

#[test]
fn each_mistake_is_told_with_the_way_out() {
    let mut told = String::new();
    for (mistake, text) in mistakes() {
        let parsed = yaml(&text);
        let problems = parsed.problems.iter().map(|problem| Drawing::default().of(problem, "shop/checkout.yaml"));
        let warnings =
            parsed.warnings.iter().map(|warning| Drawing::default().of_warning(warning, "shop/checkout.yaml"));
        let drawn: Vec<String> = problems.chain(warnings).collect();
        assert!(!drawn.is_empty(), "{mistake}");
        assert_eq!(parsed.problems.is_empty(), parsed.manifests.len() == 1, "{mistake}");
        told.push_str(&format!("## {mistake}\n{}\n\n", drawn.join("\n")));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn no_hint_names_latest() {
    for (mistake, text) in mistakes() {
        let parsed = yaml(&text);
        let told = parsed.problems.iter().chain(parsed.warnings.iter().map(|warning| &warning.0));
        for hint in told.filter_map(|problem| problem.hint.as_deref()) {
            assert!(!hint.contains(":latest"), "{mistake}: {hint}");
        }
    }
}

#[test]
fn what_tools_leave_behind_is_told_once_a_file() {
    let several = |text: String| yaml(format!("{text}---\n{}", text.replace("checkout", "search")));
    for text in [
        image("ghcr.io/acme/checkout:{{ .Values.tag }}"),
        instead("projectId: shop", "projectId: ${PROJECT}").replace("1.8.2", "$TAG"),
        GOOD.replace("  ", "\u{a0}\u{a0}"),
        instead("spec:\n", "spec:\n=======\n"),
        instead("spec:", "{{- if .Values.on }}\nspec:"),
    ] {
        let parsed = several(text);
        assert_eq!((parsed.manifests.len(), parsed.problems.len()), (0, 1), "{:?}", lines(&parsed));
    }
    // Nothing of a file with a conflict is applied, also where one of its sides is whole.
    let parsed = yaml(format!("<<<<<<< HEAD\n---\n{GOOD}---\n=======\n---\n{BUILD}---\n>>>>>>> next\n"));
    assert_eq!(
        lines(&parsed),
        [
            "1:1 : this is an unresolved merge conflict (resolve it and commit the result; `git diff --check` lists conflict markers)"
        ]
    );
    assert_eq!(parsed.manifests, []);
}

#[test]
fn what_only_looks_like_a_leftover_is_left_alone() {
    for text in [
        command("'cat <<EOF; echo ======='"),
        command("\"echo {{{\""),
        command("|\n      <<<<<<< HEAD\n      ======="),
        format!("# <<<<<<< HEAD\n# {{{{ .Values.x }}}}\n#\u{a0}${{TAG}}\n{GOOD}"),
        command("'node --port $PORT ${HOST}'"),
        command("'echo \u{2714}\u{fe0f} \u{1f468}\u{200d}\u{1f469}'"),
    ] {
        let parsed = yaml(&text);
        assert_eq!((lines(&parsed), &parsed.warnings[..]), (vec![], &[][..]), "{text}");
        assert_eq!(parsed.manifests.len(), 1);
    }
}

#[test]
fn a_tag_without_a_version_is_a_warning_where_it_stands() {
    for tag in ["latest", "main", "stable", "edge", "lts-alpine", "RC"] {
        let parsed = yaml(image(&format!("nginx:{tag}")));
        assert_eq!((parsed.problems.len(), parsed.manifests.len()), (0, 1));
        let [Warning(warning)] = parsed.warnings.as_slice() else { panic!("{tag}: {:?}", parsed.warnings) };
        assert_eq!((warning.line, warning.column, &*warning.path), (8, 16, "spec.external.imagePath"));
        assert!(warning.message.starts_with(&format!("the tag `{tag}` moves: ")));
    }
    for version in [":1", ":v2", ":1.27-alpine", ":2027-01-31", ":sha-deadbeef", ":main-4f2a91c", &format!("@{DIGEST}")]
    {
        assert_eq!(yaml(image(&format!("nginx{version}"))).warnings, [], "{version}");
    }
}

#[test]
fn every_problem_has_a_way_out() {
    for text in [
        "a: [1, 2}\n",
        "a: ]\n",
        "a: *b\n",
        "a: \"b\n",
        "...\nx\n",
        "a: %b\n",
        "a: b\n  c\n d: e\n",
        "spec: 1\nkind: ServiceDeployment\n",
        "apiVersion: truenorth/v1\n",
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata: {}\nspec: {external: {}, docker: {}}\n",
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata: [a]\nspec: {internal: {}, buildpack: {}}\n",
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\n? [a]\n: b\n1: c\npolicy: {dependsOn: [é, a/b/c/d], suspend: []}\n",
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nspec: {external: {imagePath: {}, credentials: a b}}\n",
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nspec: {internal: {id: a_b, buildSHA: []}, docker: a}\n",
    ] {
        let parsed = yaml(text);
        assert!(!parsed.problems.is_empty(), "{text}");
        for problem in &parsed.problems {
            assert!(problem.hint.as_ref().is_some_and(|hint| hint.len() > 5), "{problem:?}");
        }
    }
    let missing: Vec<String> = yaml("apiVersion: truenorth/v1\nmetadata: {}\nspec: {external: {}, docker: {}}\n")
        .problems
        .iter()
        .map(|problem| format!("{} ({})", problem.message, problem.hint.as_deref().unwrap_or_default()))
        .collect();
    insta::assert_snapshot!(missing.join("\n"), @r"
    kind is missing (add kind: ServiceDeployment)
    projectId is missing (add projectId: the id from the URL of its page in Northflank, not its name)
    serviceId is missing (add serviceId: the id from the URL of its page in Northflank, not its name)
    imagePath is missing (add imagePath: the image, with its tag or digest)
    configType is missing (add configType: one of default, customEntrypoint, customCommand, customEntrypointCustomCommand)
    ");
}

#[test]
fn an_excerpt_of_which_nothing_may_be_shown_is_not_drawn() {
    let drawn = |text: &str| Drawing::default().of(&yaml(text).problems[0], "a.yaml");
    insta::assert_snapshot!(drawn("hunter2hunter2hunter2hunter2\n"), @r"
    error: a manifest is a map of fields, found text
    --> a.yaml:1:1
     = hint: if this is not a truenorth manifest, name the file in .truenorthignore
    ");
    // What tools leave behind is nobody's secret, but for the names that stand beside it.
    let conflict = drawn("<<<<<<< secret-4f2a91c07be7ab9d3c5f\na: b\n");
    assert!(conflict.contains("1 | <<<<<<< [hidden]\n"), "{conflict}");
    let pointer = drawn(&format!("version https://git-lfs.github.com/spec/v1\noid {DIGEST}\nsize 312\n"));
    assert!(pointer.contains("1 | version https://git-lfs.github.com/spec/v1\n"), "{pointer}");
}
