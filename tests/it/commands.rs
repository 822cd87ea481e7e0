//! The commands beside the pass: plan, validate, schema, completions, sandbox; and help.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::support::{Api, Ran, Running, TOKEN, Workspace, contents, eventually, hidden, manifest, outcome};

#[test]
fn a_plan_tells_changes_from_the_last_applied_content_and_sends_nothing() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    for service in ["changed", "orphaned", "same", "suspended"] {
        workspace.service(service, "1");
    }
    workspace.once(&api, &[]).exits(0);
    workspace.service("changed", "2");
    workspace.service("new", "1");
    workspace.remove("orphaned.yaml");
    workspace.write("suspended.yaml", manifest("suspended", "2") + "policy: {suspend: true}\n");
    // A plan that was shown is kept beside the ledger, so that its first digits are enough to decide about it.
    let rest = || {
        let all = workspace.contents().into_iter();
        all.filter(|(path, _)| !path.ends_with("ledger.plans")).collect::<Vec<_>>()
    };
    let (calls, before) = (api.world().call_count(), rest());

    let plan = workspace.plan().exits(0);
    assert_eq!(
        plan.outcomes(),
        [
            outcome("shop/changed", "update"),
            outcome("shop/new", "update"),
            outcome("shop/orphaned", "orphaned"),
            outcome("shop/same", "unchanged"),
            outcome("shop/suspended", "suspended")
        ]
    );
    let changed = plan.service("shop/changed");
    let image = |tag| format!("ghcr.io/acme/changed:{tag}");
    assert_eq!(changed["changes"], json!([{"path": "external.imagePath", "from": image(1), "to": image(2)}]));
    assert_eq!((&changed["cause"], &plan.service("shop/new")["cause"]), (&json!("changed"), &json!("new")));
    let report = plan.report();
    assert_eq!((&report["converged"], &report["api"]), (&json!(false), &json!({"calls": 0, "remaining": null})));

    let text = workspace.run(&["plan"]).exits(0);
    insta::assert_snapshot!(workspace.placed(&text.stdout, &api), @"
    API: URL (account team/sandbox)
    ledger: STATE
    folder: manifests at tree:ee68407a293e
    signs: + new, ~ changed
    ~ update    shop/changed (changed)  changed.yaml:1
        external.imagePath  ghcr.io/acme/changed:1 -> ghcr.io/acme/changed:2
    + update    shop/new (new)  new.yaml:1
        external.imagePath  ghcr.io/acme/new:1
      orphaned  shop/orphaned
      suspended shop/suspended  suspended.yaml:1
    2 to update, 1 unchanged, 1 suspended, 1 orphaned
    plan 263b6c618e9a: 2 changes
    a pass takes 2 calls; 996 left, window resets in 60 min
    ");
    assert_eq!(text.stderr, "");
    assert!(rest() == before, "a plan wrote something");
    assert_eq!(api.world().call_count(), calls);

    // What a plan says is what a pass does, and after it there is nothing left to do.
    let done = workspace.once(&api, &[]).exits(0);
    assert_eq!(done.report()["plan"], report["plan"]);
    for service in ["shop/changed", "shop/new"] {
        let (planned, done) = (plan.service(service), done.service(service));
        assert_eq!((&planned["digest"], &planned["changes"]), (&done["digest"], &done["changes"]), "{service}");
    }
    let after = workspace.run(&["plan", "--output", "json", "--exit-code"]).exits(0);
    assert!(after.outcomes().iter().all(|(_, planned)| planned != "update"), "{after:#?}");
}

#[test]
fn a_manifest_that_moved_is_one_line_of_a_plan_and_of_a_pass() {
    let (api, workspace) = (Api::new(), Workspace::new());
    let named = |project: &str, service: &str| {
        manifest("web", "1")
            .replace("projectId: shop", &format!("projectId: {project}"))
            .replace("serviceId: web", &format!("serviceId: {service}"))
    };
    workspace.write("web.yaml", named("shop", "web"));
    workspace.write("gone.yaml", manifest("gone", "1"));
    workspace.once(&api, &[]).exits(0);
    workspace.write("web.yaml", named("store", "web"));
    workspace.remove("gone.yaml");
    let plan = workspace.plan().exits(0);
    assert_eq!(plan.service("store/web")["movedFrom"], "shop/web");
    assert_eq!(plan.service("shop/web")["movedTo"], "store/web");
    assert_eq!(plan.service("shop/gone").get("movedTo"), None);
    let text = workspace.run(&["plan"]).exits(0).stdout;
    assert!(text.contains("? read-live store/web (moved from shop/web)  web.yaml:1\n"), "{text}");
    let told = "1 to read first, 1 orphaned, 1 moved\nshop/web stays as before; `truenorth forget` takes what moved off the list\n";
    assert!(text.contains(told) && !text.contains("orphaned  shop/web"), "{text}");
    let pass = workspace.run(&["--reconcile-once", "--api-url", &api.url()]).exits(0).stdout;
    assert!(pass.contains("+ updated   store/web (moved from shop/web)"), "{pass}");
    // Then it is an orphan as any other.
    let text = workspace.run(&["plan"]).exits(0).stdout;
    assert!(text.contains("  orphaned  shop/web\n"), "{text}");
}

#[test]
fn a_plan_needs_no_token_and_makes_no_state_folder() {
    let workspace = Workspace::sending();
    workspace.service("web", "1");
    let before = workspace.contents();
    let mut command = workspace.command(&["plan", "--output", "json"]);
    let ran = Ran::of(command.env_remove("NORTHFLANK_API_TOKEN")).exits(0);
    assert_eq!(ran.outcomes(), [outcome("shop/web", "update")]);
    assert_eq!(workspace.contents(), before);
}

#[test]
fn a_plan_says_by_its_exit_code_what_is_pending_where_it_is_asked_to() {
    let (api, workspace) = (Api::new(), Workspace::new());
    let asked = ["plan", "--exit-code"];
    workspace.run(&asked).exits(0);
    workspace.service("web", "1");
    workspace.run(&["plan"]).exits(0);
    workspace.run(&asked).exits(2);
    workspace.once(&api, &[]).exits(0);
    workspace.run(&asked).exits(0);
    // A problem says that the folder cannot be trusted, and comes first.
    workspace.service("new", "1");
    workspace.write("bad.yaml", "");
    workspace.run(&asked).exits(1);
    workspace.run(&["plan"]).exits(1);
}

#[test]
fn a_good_folder_is_valid_in_each_format() {
    let workspace = Workspace::new();
    workspace.service("web", "1");
    workspace.write("more.yaml", format!("{}---\n{}", manifest("api", "1"), manifest("worker", "1")));
    let validate = |output| {
        let mut command = workspace.command(&["validate", "--output", output]);
        Ran::of(command.env_clear()).exits(0)
    };
    let mut json = validate("json").json();
    json["revision"] = hidden(json["revision"].as_str().unwrap()).into();
    assert_eq!(json, json!({"revision": "tree:sha256:…", "valid": true, "manifests": 3, "problems": []}));
    assert_eq!(validate("text").stdout, "3 valid manifests  tree:664cd8b2b8d5\n");
    assert_eq!(validate("github").stdout, "");
}

#[test]
fn problems_become_annotations_in_a_workflow() {
    let workspace = Workspace::new();
    workspace.write("50%,a:b.yaml", manifest("web", "1").replace(":1\n", "\n") + "    credentials: 'a\\b%'\n");
    let ran = workspace.run(&["validate", "--output", "github"]).exits(1);
    let file = "manifests/50%25%2Ca%3Ab.yaml";
    assert_eq!(
        ran.stdout,
        format!(
            "::error file={file},line=8,col=16,title=truenorth::spec.external.imagePath: imagePath `ghcr.io/acme/web` names \
             no tag or digest%0Ahint: say which version should run: write ghcr.io/acme/web:<version>\n\
             ::error file={file},line=9,col=18,title=truenorth::spec.external.credentials: credentials `a\\b%25` is \
             not a credentials id: letters, digits and dashes only%0Ahint: use the id of the saved credentials in \
             Northflank, not its name\n"
        )
    );
}

#[test]
fn the_schema_is_one_and_agrees_with_the_examples() {
    let workspace = Workspace::new();
    let schema = workspace.run(&["schema"]).exits(0).json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    if let Err(error) = jsonschema::draft202012::meta::validate(&schema) {
        panic!("{error}");
    }
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let mut documents = 0;
    for (path, bytes) in contents(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop")) {
        if path.extension().is_none() {
            continue;
        }
        for document in serde_yaml::Deserializer::from_slice(&bytes) {
            let document = Value::deserialize(document).unwrap();
            let errors: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
            assert_eq!(errors, [""; 0], "{}", path.display());
            documents += 1;
        }
    }
    assert!(documents >= 4, "{documents} examples");
    for broken in ["imagePath: nginx", "imagePath: 8080", "imagepath: nginx:1", "credentials: ghcr"] {
        let text = manifest("web", "1").replace("imagePath: ghcr.io/acme/web:1", broken);
        let document: Value = serde_yaml::from_str(&text).unwrap();
        assert!(!validator.is_valid(&document), "{broken}");
    }
}

#[test]
fn every_field_has_a_description_in_the_schema() {
    fn walk(path: &str, value: &Value, without: &mut Vec<String>) {
        let Some(map) = value.as_object() else { return };
        for (name, field) in map.get("properties").and_then(Value::as_object).into_iter().flatten() {
            // What `if` and `then` say of a field is no field of its own.
            if field.get("description").is_none() && field.get("const").is_none() {
                without.push(format!("{path}/{name}"));
            }
        }
        for (name, below) in map {
            walk(&format!("{path}/{name}"), below, without);
        }
    }
    let schema = Workspace::new().run(&["schema"]).exits(0).json();
    let mut without = Vec::new();
    walk("", &schema, &mut without);
    assert_eq!(without, [""; 0]);
}

#[test]
fn completions_are_there_for_each_shell() {
    let workspace = Workspace::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = workspace.run(&["completions", shell]).exits(0);
        assert!(ran.stdout.contains("TRUENORTH_COMPLETE") && ran.stdout.contains("truenorth"), "{shell}");
    }
    let script = workspace.path().join("completions.bash");
    std::fs::write(&script, workspace.run(&["completions", "bash"]).stdout).unwrap();
    let read = Command::new("bash").arg("-n").arg(script).output().unwrap();
    assert!(read.status.success(), "{read:?}");
}

#[test]
fn the_manual_has_a_page_for_each_command() {
    let workspace = Workspace::new();
    workspace.run(&["man", "--out", "share/man1"]).exits(0);
    let page = |name: &str| std::fs::read_to_string(workspace.path().join("share/man1").join(name)).unwrap();
    for (name, told) in [
        ("truenorth.1", "reconcile\\-once"),
        ("truenorth-plan.1", "TRUENORTH_EXIT_CODE"),
        ("truenorth-import.1", "\\-\\-out"),
        ("truenorth-why.1", "SERVICE"),
    ] {
        let text = page(name);
        assert!(text.contains(told) && text.contains(env!("CARGO_PKG_VERSION")), "{name}: {text}");
    }
    assert_eq!(workspace.run(&["man"]).exits(0).stdout, page("truenorth.1"));
    workspace.run(&["man", "--out", "share/man1/truenorth.1"]).exits(78);
}

#[test]
fn the_sandbox_alone_serves_a_pass_until_it_is_stopped() {
    for signal in [Signal::TERM, Signal::INT] {
        let workspace = Workspace::new();
        workspace.service("web", "1");
        let sandbox = Running::start(&mut workspace.command(&["sandbox", "--listen", "127.0.0.1:0"]));
        eventually("the sandbox prints its address", || sandbox.stdout().ends_with('\n'));
        let url = sandbox.stdout().trim_end().to_owned();
        let once = ["--reconcile-once", "--output", "json", "--api-url", &url];
        assert_eq!(workspace.run(&once).exits(0).outcomes(), [outcome("shop/web", "updated")]);
        assert_eq!(workspace.run(&once).exits(0).outcomes(), [outcome("shop/web", "unchanged")]);
        sandbox.signal(signal);
        let ran = sandbox.ended().exits(0);
        assert_eq!(ran.stdout, format!("{url}\n"));
        assert!(!ran.stderr.contains(TOKEN));
    }
}

#[test]
fn the_sandbox_rehearses_what_goes_wrong() {
    let ends = |arguments: &[&str], code: i32| {
        let workspace = Workspace::sending();
        workspace.service("web", "1");
        workspace.service("api", "1");
        let listen = [&["sandbox", "--listen", "127.0.0.1:0"], arguments].concat();
        let sandbox = Running::start(&mut workspace.command(&listen));
        eventually("the sandbox prints its address", || sandbox.stdout().ends_with('\n'));
        let url = sandbox.stdout().trim_end().to_owned();
        let ran = workspace.run(&["--reconcile-once", "--output", "json", "--deadline", "1s", "--api-url", &url]);
        sandbox.signal(Signal::TERM);
        (ran.exits(code), sandbox.ended().exits(0).stderr)
    };
    let (ran, told) = ends(&["--missing", "shop/web", "--fail-rollout", "shop/api"], 1);
    assert!(told.contains("every service exists but shop/web; rollouts of shop/api fail. Try:"), "{told}");
    assert!(ran.json()["services"][1]["error"].as_str().unwrap().contains("404"), "{ran:#?}");
    let (ran, told) = ends(&["--refuse-token"], 1);
    assert!(told.contains("every token is refused and every service exists. Try:"), "{told}");
    assert!(ran.stdout.contains("401"), "{ran:#?}");
    Workspace::new().run(&["sandbox", "--missing", "web"]).exits(64);
}

#[test]
fn a_reader_that_goes_away_hears_no_complaint() {
    let workspace = Workspace::new();
    let mut command = workspace.command(&["schema"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let ended = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn the_version_is_the_packages() {
    let ran = Workspace::new().run(&["--version"]).exits(0);
    assert_eq!(ran.stdout, format!("truenorth {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn help_names_the_variable_of_every_option_and_so_does_the_readme() {
    let workspace = Workspace::new();
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with('|')).collect();
    let mut options = BTreeSet::new();
    for command in ["", "plan", "validate", "status", "why", "history", "schema", "sandbox", "completions"] {
        let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let help = workspace.run(&arguments).exits(0).stdout;
        for (option, text) in options_of(&help) {
            if matches!(option.as_str(), "--help" | "--version") {
                continue;
            }
            let variable = text.split("[env: ").nth(1).and_then(|rest| rest.split(['=', ']']).next()).map(str::trim);
            let variable = variable.unwrap_or_else(|| panic!("{command} {option} has no variable:\n{text}"));
            options.insert((option, variable.to_owned()));
        }
    }
    assert!(options.len() > 10, "{options:?}");
    for (option, variable) in options {
        let words = |row: &str| row.split(['`', ' ', ';']).map(str::to_owned).collect::<Vec<_>>();
        let told = |row: &&str| words(row).contains(&option) && words(row).contains(&variable);
        assert!(rows.iter().any(told), "the README has no row with {option} and {variable}");
    }
}

#[test]
fn every_command_is_in_the_readme() {
    let help = Workspace::new().run(&["--help"]).exits(0).stdout;
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).unwrap();
    for line in commands.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let command = line.split_whitespace().next().unwrap();
        let row = readme.lines().any(|row| row.starts_with(&format!("| `{command}")));
        assert!(row || command == "help", "the README has no row for {command}");
    }
}

/// The options of a help text, each with all that is said of it.
fn options_of(help: &str) -> Vec<(String, String)> {
    let mut options: Vec<(String, String)> = Vec::new();
    let section = help.split("\nOptions:\n").nth(1).unwrap_or_default();
    for line in section.lines().take_while(|line| line.is_empty() || line.starts_with(' ')) {
        let word = line.split_whitespace().find(|word| word.starts_with("--"));
        let word = word.and_then(|word| word.split('[').next());
        match (word, options.last_mut()) {
            (Some(word), _) if line.trim_start().starts_with('-') => options.push((word.to_owned(), line.to_owned())),
            (_, Some((_, text))) => text.push_str(line),
            (_, None) => {}
        }
    }
    options
}
