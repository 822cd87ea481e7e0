//! What is wrong in a folder, and how it is told.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Api, Ran, Workspace, manifest};

/// The head of a manifest of `shop/<service>`; its spec begins on line 7.
fn head(service: &str) -> String {
    format!(
        "apiVersion: truenorth/v1\nkind: ServiceDeployment\nmetadata:\n  projectId: shop\n  serviceId: {service}\nspec:\n"
    )
}

/// A folder with everything that can be wrong in one. The socket is gone when it is dropped.
struct Nasty {
    workspace: Workspace,
    _socket: UnixListener,
}

impl Nasty {
    fn new() -> Self {
        let workspace = Workspace::new();
        let at = |file: &str| workspace.manifests().join(file);
        workspace.service("good", "1");

        // Values.
        let internal = |line: &str| format!("{}  internal:\n    id: web-build\n    {line}\n", head("web"));
        workspace.write("value/number-sha.yaml", internal(&format!("buildSHA: {}", "1234567890".repeat(4))));
        workspace.write("value/short-sha.yaml", internal("buildSHA: 4f2a91c"));
        let command = "  docker:\n    configType: customCommand\n    customCommand: 8080\n";
        workspace.write("value/number-command.yaml", head("web") + command);
        workspace.write(
            "value/number-command.json",
            r#"{"apiVersion": "truenorth/v1", "kind": "ServiceDeployment",
  "metadata": {"projectId": "shop", "serviceId": "web"},
  "spec": {"docker": {"configType": "customCommand", "customCommand": 8080}}}"#,
        );
        workspace
            .write("value/no-tag.yaml", head("web") + "  external:\n    imagePath: nginx\n    credentials: my ghcr\n");
        workspace.write("value/no-command.yaml", head("web") + "  docker: {configType: customCommand}\n");
        workspace.write("value/both-forms.yaml", internal("branch: main") + "  external: {imagePath: 'nginx:1'}\n");
        workspace.write("value/empty-spec.yaml", head("web") + "  {}\n");

        // Fields.
        workspace.write("field/unknown.yaml", manifest("web", "1") + "    credential: ghcr\n");
        workspace.write("field/misplaced.yaml", manifest("web", "1") + "serviceId: web\n");
        workspace.write("field/twice.yaml", manifest("web", "1") + "    imagePath: nginx:2\n");
        workspace.write("field/kind.yaml", manifest("web", "1").replace("ServiceDeployment", "ServiceDeploymant"));
        workspace.write("field/version.yaml", manifest("web", "1").replace("/v1", "/v2"));
        workspace.write("field/foreign.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n");

        // Texts.
        workspace.write("text/tab.yaml", head("web") + "\texternal: {imagePath: 'nginx:1'}\n");
        workspace.write("text/open-quote.yaml", head("web") + "  external: {imagePath: \"nginx:1}\n");
        workspace.write("text/latin-1.yaml", b"# caf\xe9\n");
        workspace.write("text/utf-16.yaml", b"\xff\xfea\0:\0");
        workspace.write("text/empty.yaml", "");
        workspace.write("text/comments.yaml", "# Nothing but this.\n");
        workspace.write("text/comma.json", "{\"apiVersion\": \"truenorth/v1\",}\n");
        workspace.write("text/notes.txt", "remember the milk\n");

        // Made to hang or to fill the memory.
        workspace.write("bomb/aliases.yaml", aliases());
        workspace.write("bomb/nested.yaml", "[".repeat(100_000));
        workspace.write("bomb/nested.json", "[".repeat(100_000));
        workspace.write("bomb/mapped.yaml", "{a: ".repeat(100_000));
        workspace.write("bomb/large.yaml", "a".repeat(2 << 20));
        workspace.write("bomb/values.yaml", "- a\n".repeat(250_000));

        // No plain files.
        fs::create_dir(at("odd")).unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("odd/pipe.yaml"), fifo, 0o600.into(), 0).unwrap();
        let socket = UnixListener::bind(at("odd/socket.yaml")).unwrap();
        fs::write(workspace.path().join("outside.yaml"), manifest("outside", "1")).unwrap();
        symlink("../../outside.yaml", at("odd/out.yaml")).unwrap();
        symlink("../..", at("odd/out")).unwrap();
        symlink("..", at("odd/circle")).unwrap();

        // One service, two manifests: in two files, and in one.
        workspace.write("twice/a.yaml", manifest("twice", "1"));
        workspace.write("twice/b.yaml", format!("\n{}", manifest("twice", "1")));
        workspace.write("twice/c.yaml", format!("{}---\n{}", manifest("again", "1"), manifest("again", "2")));

        // Closed to everybody but root.
        workspace.write("closed/folder/a.yaml", manifest("closed-a", "1"));
        workspace.write("closed/file.yaml", manifest("closed-b", "1"));
        Self { workspace, _socket: socket }
    }

    /// Runs something while parts of the folder are closed; they are opened again so that they can be removed.
    fn while_closed<T>(&self, run: impl FnOnce(&Workspace) -> T) -> T {
        let set = |folder, file| {
            let at = |path: &str| self.workspace.manifests().join(path);
            fs::set_permissions(at("closed/file.yaml"), fs::Permissions::from_mode(file)).unwrap();
            fs::set_permissions(at("closed/folder"), fs::Permissions::from_mode(folder)).unwrap();
        };
        set(0, 0);
        let ran = run(&self.workspace);
        set(0o700, 0o600);
        ran
    }
}

/// Nine to the power of twelve, when unfolded.
fn aliases() -> String {
    let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for level in 1..12 {
        let uses = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{uses}]\n"));
    }
    text
}

/// Hints that several problems share.
const IGNORE: &str = "if this is not a truenorth manifest, name the file in .truenorthignore";
const OPEN: &str = "let the user that runs truenorth read it";

/// File, line, column, path, message, hint: what a problem says.
type Told = (&'static str, u32, u32, &'static str, &'static str, &'static str);

/// What each of the folder's problems says, in the order in which they are told. No hint is an empty one.
#[rustfmt::skip]
const TOLD: &[Told] = &[
    ("bomb/aliases.yaml", 1, 1, "", "the document has more than 10000 values, or its aliases expand to more", IGNORE),
    ("bomb/large.yaml", 1, 1, "", "the file is larger than 1024 KiB, the most that a file of manifests may have", "split it into several files"),
    ("bomb/mapped.yaml", 1, 257, "", "the document is nested more than 64 levels deep", IGNORE),
    ("bomb/nested.json", 1, 65, "", "the document is nested more than 64 levels deep", IGNORE),
    ("bomb/nested.yaml", 1, 65, "", "the document is nested more than 64 levels deep", IGNORE),
    ("bomb/values.yaml", 10000, 3, "", "the document has more than 10000 values, or its aliases expand to more", IGNORE),
    ("field/foreign.yaml", 1, 1, "", "this is Deployment of apps/v1, expected ServiceDeployment of truenorth/v1", IGNORE),
    ("field/kind.yaml", 2, 7, "kind", "kind is `ServiceDeploymant`, expected ServiceDeployment", "did you mean ServiceDeployment?"),
    ("field/misplaced.yaml", 9, 1, "serviceId", "unknown field `serviceId`", "did you mean metadata.serviceId?"),
    ("field/twice.yaml", 9, 5, "spec.external.imagePath", "imagePath is given twice", "the first one is on line 8; keep one of them"),
    ("field/unknown.yaml", 9, 5, "spec.external.credential", "unknown field `credential`", "did you mean credentials?"),
    ("field/version.yaml", 1, 13, "apiVersion", "apiVersion is `truenorth/v2`, expected truenorth/v1", "did you mean truenorth/v1?"),
    ("odd/circle", 1, 1, "", "the link runs in a circle: it leads back to `.`", "remove the link, or name it in .truenorthignore"),
    ("odd/out", 1, 1, "", "the link leads out of the manifests folder", "copy what it leads to into the folder, or name the link in .truenorthignore"),
    ("odd/out.yaml", 1, 1, "", "the link leads out of the manifests folder", "copy what it leads to into the folder, or name the link in .truenorthignore"),
    ("odd/pipe.yaml", 1, 1, "", "this is a FIFO, not a file of manifests", "remove it, or name it in .truenorthignore"),
    ("odd/socket.yaml", 1, 1, "", "this is a socket, not a file of manifests", "remove it, or name it in .truenorthignore"),
    ("text/comma.json", 1, 31, "", "not valid JSON: a comma before the closing bracket", "remove the comma"),
    ("text/comments.yaml", 1, 1, "", "the file has only comments and no manifest", "remove the file, or name it in .truenorthignore"),
    ("text/empty.yaml", 1, 1, "", "the file is empty", "remove the file, or name it in .truenorthignore"),
    ("text/latin-1.yaml", 1, 6, "", "the file is not UTF-8: invalid byte 0xe9", "save the file as UTF-8"),
    ("text/notes.txt", 1, 1, "", "the file is not a manifest: expected .yaml, .yml or .json", "move it elsewhere, or name it in .truenorthignore"),
    ("text/open-quote.yaml", 7, 25, "", "the quote that opens here is never closed", "close it with the same kind of quote, or remove it"),
    ("text/tab.yaml", 7, 1, "", "a tab is used for indentation", "YAML allows only spaces here"),
    ("text/utf-16.yaml", 1, 1, "", "the file is UTF-16, expected UTF-8", "save the file as UTF-8"),
    ("twice/a.yaml", 1, 1, "", "`shop/twice` has a second manifest at twice/b.yaml:2; neither is applied", "keep one of them"),
    ("twice/b.yaml", 2, 1, "", "`shop/twice` has a second manifest at twice/a.yaml:1; neither is applied", "keep one of them"),
    ("twice/c.yaml", 1, 1, "", "`shop/again` has a second manifest at twice/c.yaml:10; neither is applied", "keep one of them"),
    ("twice/c.yaml", 10, 1, "", "`shop/again` has a second manifest at twice/c.yaml:1; neither is applied", "keep one of them"),
    ("value/both-forms.yaml", 10, 3, "spec.external", "external and internal cannot be used together", "keep external for an image in a registry, or internal for a Northflank build"),
    ("value/empty-spec.yaml", 7, 3, "spec", "spec is empty", "add external, internal, docker or buildpack"),
    ("value/no-command.yaml", 7, 24, "spec.docker.customCommand", "configType customCommand requires customCommand", "add customCommand"),
    ("value/no-tag.yaml", 8, 16, "spec.external.imagePath", "imagePath `nginx` names no tag or digest", "say which version should run: write nginx:<version>"),
    ("value/no-tag.yaml", 9, 18, "spec.external.credentials", "credentials `my ghcr` is not a credentials id: letters, digits and dashes only", "use the id of the saved credentials in Northflank, not its name"),
    ("value/number-command.json", 3, 71, "spec.docker.customCommand", "customCommand must be text, found a number", "quote it: write \"8080\""),
    ("value/number-command.yaml", 9, 20, "spec.docker.customCommand", "customCommand must be text, found a number", "quote it: write '8080'"),
    ("value/number-sha.yaml", 9, 15, "spec.internal.buildSHA", "buildSHA must be text of 40 characters, found a number", "quote it: write '1234567890123456789012345678901234567890'"),
    ("value/short-sha.yaml", 9, 15, "spec.internal.buildSHA", "buildSHA `4f2a91c` has 7 characters, and a commit has 40", "write all 40 characters: `git rev-parse 4f2a91c` prints them"),
];

/// What is told of what is closed, to everybody but root.
const CLOSED: &[Told] = &[
    ("closed/file.yaml", 1, 1, "", "it cannot be read: Permission denied (os error 13)", OPEN),
    ("closed/folder", 1, 1, "", "it cannot be read: Permission denied (os error 13)", OPEN),
];

fn expected() -> Vec<Value> {
    let closed = if rustix::process::geteuid().is_root() { &[] } else { CLOSED };
    let mut told: Vec<Told> = closed.iter().chain(TOLD).copied().collect();
    told.sort_unstable();
    told.into_iter()
        .map(|(file, line, column, path, message, hint)| {
            let hint = Some(hint).filter(|hint| !hint.is_empty());
            json!({"file": file, "line": line, "column": column, "path": path, "message": message, "hint": hint})
        })
        .collect()
}

#[test]
fn every_problem_of_every_file_is_told_in_one_run_and_in_one_order() {
    let nasty = Nasty::new();
    let (first, second) = nasty.while_closed(|workspace| {
        let validate = || workspace.run(&["validate", "--output", "json"]).exits(1);
        (validate(), validate())
    });
    let told = first.json();
    for (told, expected) in told["problems"].as_array().unwrap().iter().zip(expected()) {
        assert_eq!(*told, expected);
    }
    assert_eq!(told["problems"].as_array().map(Vec::len), Some(expected().len()));
    let valid = if rustix::process::geteuid().is_root() { 3 } else { 1 };
    assert_eq!((&told["manifests"], &told["valid"]), (&json!(valid), &json!(false)));
    assert_eq!(first.stdout, second.stdout);
    assert_eq!(first.stderr, "");
}

#[test]
fn a_plan_and_a_pass_tell_the_same_problems_and_go_on_with_the_rest() {
    let (api, nasty) = (Api::new(), Nasty::new());
    let (plan, pass) = nasty.while_closed(|workspace| (workspace.plan().exits(1), workspace.once(&api, &[]).exits(1)));
    for ran in [&plan, &pass] {
        assert_eq!(ran.report()["problems"], Value::from(expected()));
    }
    assert_eq!(plan.service("shop/good")["outcome"], "read-live");
    assert_eq!(pass.service("shop/good")["outcome"], "updated");
    assert_eq!(api.calls_of("shop/web"), 0);
}

#[test]
fn what_is_ignored_is_no_problem() {
    let nasty = Nasty::new();
    let ignored = "/bomb/\n/closed\n/field\ntext/\n/odd/\n/twice/\nvalue/**\n";
    nasty.workspace.write(".truenorthignore", ignored);
    let ran = nasty.while_closed(|workspace| workspace.run(&["validate", "--output", "json"])).exits(0).json();
    assert_eq!((&ran["problems"], &ran["manifests"]), (&json!([]), &json!(1)));
}

#[test]
fn a_folder_made_to_fill_the_memory_takes_little() {
    let nasty = Nasty::new();
    for copy in 0..4 {
        nasty.workspace.write(&format!("bomb/aliases-{copy}.yaml"), aliases());
        nasty.workspace.write(&format!("bomb/nested-{copy}.yaml"), "[".repeat(1 << 20));
    }
    // What the process may write to, heap and stacks of all threads together; past it, an allocation fails and ends it.
    let limited = format!("ulimit -d {LITTLE_KIB} && exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limited, "sh", env!("CARGO_BIN_EXE_truenorth"), "validate", "--output", "json"]);
    command.current_dir(nasty.workspace.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ran = Ran::of(&mut command).exits(1);
    assert_eq!(ran.json()["problems"].as_array().map(Vec::len), Some(TOLD.len() + 8));
}

/// 100 MiB, of which eight threads that read take a third on a large machine, and two threads a tenth.
const LITTLE_KIB: u32 = 100 * 1024;

#[test]
fn people_see_the_line_a_caret_and_a_hint() {
    let workspace = Workspace::new();
    workspace.service("good", "1");
    workspace.write("a.yaml", head("web") + "  docker:\n    configType: customComand\n    customCommand: 8080\n");
    workspace.write("b.yaml", head("api") + "\texternal: {imagePath: 'nginx:1'}\n");
    workspace.write("sub/c.yaml", "");
    let ran = workspace.run(&["validate"]).exits(1);
    insta::assert_snapshot!(ran.stdout, @"
    error: configType `customComand` does not exist
     --> manifests/a.yaml:8:17
      |
    8 |     configType: customComand
      |                 ^^^^^^^^^^^^
      |
      = hint: did you mean customCommand?

    error: customCommand must be text, found a number
     --> manifests/a.yaml:9:20
      |
    9 |     customCommand: 8080
      |                    ^^^^
      |
      = hint: quote it: write '8080'

    error: a tab is used for indentation
     --> manifests/b.yaml:7:1
      |
    7 |     external: {imagePath: 'nginx:1'}
      | ^^^^
      |
      = hint: YAML allows only spaces here

    error: the file is empty
    --> manifests/sub/c.yaml:1:1
     = hint: remove the file, or name it in .truenorthignore

    4 problems, 1 valid manifest  tree:6c80a5d730d1
    ");
    assert_eq!(ran.stderr, "");
}

#[test]
fn nothing_in_a_folder_steers_a_terminal() {
    let workspace = Workspace::new();
    // Sets a terminal's title, where it gets there as it stands.
    let steering = "\u{1b}]0;title\u{7}";
    let escaped = r"\e]0;title\a";
    workspace.write("a.yaml", head("web") + &format!("  docker: {{configType: \"{escaped}\", \"{escaped}\": 1}}\n"));
    workspace.write("b.yaml", format!("a: {steering}\n"));
    workspace.write(&format!("c{steering}.yaml"), "");
    workspace.write("d.yaml", manifest(&format!("\"{escaped}\""), "1"));
    workspace.write(
        "e.yaml",
        manifest("e", "1") + &format!("  docker: {{configType: customCommand, customCommand: \"{escaped}\"}}\n"),
    );
    for arguments in
        [&["validate"][..], &["plan"], &["validate", "--output", "github"], &["validate", "--output", "json"]]
    {
        // With colours, or all that looks like an escape would be taken out.
        let ran = Ran::of(workspace.command(arguments).env("CLICOLOR_FORCE", "1")).exits(1);
        for text in [&ran.stdout, &ran.stderr] {
            assert!(!text.contains("\u{1b}]") && !text.contains('\u{7}'), "{arguments:?}: {text:?}");
        }
    }
}

#[test]
fn a_warning_is_told_by_validate_and_plan_and_changes_no_exit_code() {
    let workspace = Workspace::new();
    workspace.write("web.yaml", manifest("web", "latest"));
    let told = |ran: &Ran, warnings: &Value| {
        let warning = &warnings[0];
        assert_eq!(warnings.as_array().map(Vec::len), Some(1), "{ran:?}");
        assert_eq!(
            (&warning["file"], &warning["line"], &warning["column"]),
            (&json!("web.yaml"), &json!(8), &json!(16))
        );
        assert!(warning["message"].as_str().unwrap().starts_with("the tag `latest` moves: "), "{warning}");
        assert_eq!(warning["hint"], "name a version or a digest, so that a new image is a change");
    };
    let validate = workspace.run(&["validate", "--output", "json"]).exits(0);
    let json = validate.json();
    told(&validate, &json["warnings"]);
    assert_eq!((&json["valid"], &json["problems"]), (&json!(true), &json!([])));
    let plan = workspace.plan().exits(0);
    told(&plan, &plan.report()["warnings"]);

    let text = workspace.run(&["validate"]).exits(0).stdout;
    assert!(text.starts_with("warning: spec.external.imagePath: the tag `latest` moves: "), "{text}");
    assert!(text.contains("\n1 warning, 1 valid manifest  "), "{text}");
    assert!(
        workspace.run(&["plan"]).exits(0).stdout.contains("warning: spec.external.imagePath: the tag `latest` moves: ")
    );
    let github = workspace.run(&["validate", "--output", "github"]).exits(0).stdout;
    assert!(github.starts_with("::warning file=manifests/web.yaml,line=8,col=16,title=truenorth::"), "{github}");

    // A pass tells what it did.
    let api = Api::new();
    assert!(workspace.once(&api, &[]).exits(0).report().get("warnings").is_none());
}
