//! What cannot be understood (64) and what cannot be begun (78). The other codes: 0, 1 and 2 stand with what ends so.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::{Api, Ran, TOKEN, Workspace};

#[test]
fn what_cannot_be_understood_ends_with_64() {
    let workspace = Workspace::sending();
    for arguments in [
        &["--no-such-option"][..],
        &["no-such-command"],
        &["--reconcile-once", "--concurrency", "0"],
        &["--reconcile-once", "--concurrency", "1025"],
        &["--reconcile-once", "--concurrency", "many"],
        &["--reconcile-once", "--deadline", "5"],
        &["--reconcile-once", "--deadline", "0s"],
        &["--reconcile-once", "--deadline", "8d"],
        &["--reconcile-once", "--request-timeout", "-1s"],
        &["--reconcile-once", "--output", "yaml"],
        &["--reconcile-once", "--log-format", "xml"],
        &["--reconcile-once", "--log-level", "loud"],
        &["--reconcile-once", "--manifests"],
        &["--reconcile-once", "--reconcile-once"],
        &["--sandbox", "validate"],
        &["plan", "--limit", "3"],
        &["plan", "--reconcile-once"],
        &["plan", "--output", "github"],
        &["validate", "--state-dir", "state"],
        &["completions"],
        &["completions", "nosuchshell"],
        &["sandbox", "--listen", "nowhere"],
        &["schema", "extra"],
    ] {
        let ran = workspace.run(arguments).exits(64);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(ran.stderr.starts_with("error: "), "{arguments:?}: {}", ran.stderr);
    }
    assert!(!workspace.state().exists());
}

#[test]
fn a_variable_that_cannot_be_understood_ends_with_64_too() {
    let workspace = Workspace::sending();
    let mut command = workspace.command(&["--reconcile-once", "--sandbox"]);
    let ran = Ran::of(command.env("TRUENORTH_DEADLINE", "soon")).exits(64);
    assert!(ran.stderr.contains("--deadline"), "{}", ran.stderr);
}

#[test]
fn variables_of_a_pass_do_not_get_in_the_way_of_commands() {
    let workspace = Workspace::sending();
    workspace.service("web", "1");
    for arguments in [&["plan"][..], &["validate"], &["schema"], &["completions", "bash"]] {
        let mut command = workspace.command(arguments);
        command.env("TRUENORTH_RECONCILE_ONCE", "1").env("TRUENORTH_SANDBOX", "true");
        command.env("TRUENORTH_CONCURRENCY", "2").env("TRUENORTH_DEADLINE", "1m");
        Ran::of(&mut command).exits(0);
    }
}

#[test]
fn every_option_of_a_pass_can_come_from_the_environment() {
    let (api, workspace) = (Api::of_token("nf-of-the-file"), Workspace::sending());
    workspace.write("web.yaml", crate::support::manifest("web", "1"));
    fs::rename(workspace.manifests(), workspace.path().join("elsewhere")).unwrap();
    fs::write(workspace.path().join("token"), "nf-of-the-file").unwrap();
    let mut command = workspace.command(&[]);
    command.envs([
        ("TRUENORTH_RECONCILE_ONCE", "1"),
        ("TRUENORTH_MANIFESTS", "elsewhere"),
        ("TRUENORTH_TOKEN_FILE", "token"),
        ("NORTHFLANK_API_URL", &api.url()),
        ("TRUENORTH_OUTPUT", "json"),
        ("TRUENORTH_LOG_FORMAT", "json"),
        ("TRUENORTH_LOG_LEVEL", "debug"),
    ]);
    let ran = Ran::of(&mut command).exits(0);
    assert_eq!(ran.service("shop/web")["outcome"], "updated");
    assert!(workspace.state().join("ledger.sqlite").exists());
    for line in ran.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn without_a_token_nothing_begins() {
    let workspace = Workspace::sending();
    workspace.service("web", "1");
    let path = |name: &str| workspace.path().join(name);
    fs::write(path("empty"), "").unwrap();
    fs::write(path("blank"), "\n\n").unwrap();
    fs::write(path("two-lines"), "nf-a\nnf-b\n").unwrap();
    fs::write(path("long"), "x".repeat(5000)).unwrap();
    fs::write(path("binary"), [0xff, 0xfe]).unwrap();
    fs::create_dir(path("folder")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), fifo, 0o600.into(), 0).unwrap();
    for (file, why) in [
        ("empty", "token file `empty` holds no token: it is empty"),
        ("blank", "token file `blank` holds no token: it holds a blank, a line break within, or another character"),
        ("two-lines", "holds a blank, a line break within"),
        ("long", "is longer than 4096 bytes"),
        ("binary", "another character that no token has"),
        ("folder", "token file `folder` is not a regular file"),
        ("pipe", "token file `pipe` is not a regular file"),
        ("missing", "cannot read token file `missing`: No such file or directory"),
    ] {
        misconfigured(&workspace.run(&["--reconcile-once", "--token-file", file]), why);
    }
    let without = |variables: &[(&str, &str)]| {
        let mut command = workspace.command(&["--reconcile-once"]);
        Ran::of(command.env_remove("NORTHFLANK_API_TOKEN").envs(variables.iter().copied()))
    };
    misconfigured(&without(&[]), "no API token\n  hint: name a file with `--token-file`");
    misconfigured(&without(&[("NORTHFLANK_API_TOKEN", "")]), "no API token");
    misconfigured(
        &without(&[("NORTHFLANK_API_TOKEN", "a b")]),
        "`NORTHFLANK_API_TOKEN` holds no token: it holds a blank",
    );
    misconfigured(&without(&[("CREDENTIALS_DIRECTORY", "folder")]), "no API token");
    assert!(!workspace.state().exists(), "the ledger is made when all else is in order");
}

#[test]
fn a_token_file_that_is_closed_to_us_is_a_clear_error() {
    let workspace = Workspace::sending();
    let file = workspace.path().join("token");
    fs::write(&file, TOKEN).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let ran = workspace.run(&["--reconcile-once", "--token-file", "token", "--manifests", "missing"]);
    // Nothing is closed to root, who gets as far as the folder.
    let root = rustix::process::geteuid().is_root();
    let why =
        if root { "cannot read the manifests folder" } else { "cannot read token file `token`: Permission denied" };
    misconfigured(&ran, why);
}

#[test]
fn systemds_credential_is_a_token_file() {
    let (api, workspace) = (Api::of_token("nf-of-systemd"), Workspace::sending());
    workspace.service("web", "1");
    fs::write(workspace.path().join("northflank-api-token"), "nf-of-systemd\n").unwrap();
    let mut command = workspace.once_command(&api, &[]);
    let command = command.env_remove("NORTHFLANK_API_TOKEN").env("CREDENTIALS_DIRECTORY", workspace.path());
    Ran::of(command).exits(0);
}

#[test]
fn a_bad_address_of_the_api_is_refused_before_anything_else() {
    let workspace = Workspace::sending();
    workspace.service("web", "1");
    for (url, why) in [
        ("", "is not a URL; write it like `https://api.northflank.com`"),
        ("api.northflank.com", "is not a URL"),
        ("https://", "is not a URL"),
        ("https://a b", "is not a URL"),
        ("ftp://api.northflank.com", "has another scheme than https"),
        ("http://api.northflank.com", "would send the token in clear text"),
        ("http://10.0.0.1:8080", "would send the token in clear text"),
        ("http://localhost.example.com", "would send the token in clear text"),
        ("https://me:secret@api.northflank.com", "holds a user name or password"),
        ("https://api.northflank.com?x=1", "holds a query"),
        ("https://api.northflank.com#x", "holds a fragment"),
    ] {
        let ran = workspace.run(&["--reconcile-once", "--api-url", url]);
        misconfigured(&ran, &format!("the API's URL (--api-url) {why}"));
    }
    assert!(!workspace.state().exists());
}

#[test]
fn a_proxy_that_cannot_be_used_is_refused_and_one_that_is_used_is_named() {
    let workspace = Workspace::sending();
    workspace.service("web", "1");
    let pass = |proxy: &str| {
        let mut command =
            workspace.command(&["--reconcile-once", "--deadline", "200ms", "--api-url", "https://api.invalid"]);
        // The loading of the system's certificates is not what this is about.
        let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/src/northflank/tests/tls/ca.pem");
        Ran::of(
            command
                .env("HTTPS_PROXY", proxy)
                .env_remove("NO_PROXY")
                .env_remove("no_proxy")
                .env("SSL_CERT_FILE", authority),
        )
    };
    for proxy in ["http://", "socks5://me:hunter2@127.0.0.1:1", "http://me:hunter2@[proxy"] {
        let ran = pass(proxy);
        misconfigured(&ran, "`HTTPS_PROXY` does not name a proxy that can be used\n  hint: write http://HOST:PORT");
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = pass(&format!("http://me:hunter2@{closed}")).exits(1);
    let told = format!("no connection to `https://api.invalid` through the proxy `http://{closed}`");
    assert!(ran.stdout.contains(&told) && !ran.stdout.contains("hunter2"), "{}", ran.stdout);
}

#[test]
fn a_folder_that_cannot_be_read_is_not_an_empty_one() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    workspace.service("web", "1");
    workspace.once(&api, &[]).exits(0);
    fs::write(workspace.path().join("file"), "").unwrap();
    for (folder, why) in [("missing", "No such file or directory"), ("file", "Not a directory")] {
        let why = format!("cannot read the manifests folder `{folder}` (--manifests): {why}");
        misconfigured(&workspace.once(&api, &["--manifests", folder]), &why);
        misconfigured(&workspace.run(&["plan", "--manifests", folder]), &why);
        misconfigured(&workspace.run(&["validate", "--manifests", folder]), &why);
    }
    fs::set_permissions(workspace.manifests(), fs::Permissions::from_mode(0o000)).unwrap();
    let ran = workspace.once(&api, &[]);
    fs::set_permissions(workspace.manifests(), fs::Permissions::from_mode(0o700)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Nothing is closed to root.
        ran.exits(0);
    } else {
        misconfigured(&ran, "cannot read the manifests folder `manifests` (--manifests): Permission denied");
    }
    assert_eq!(api.world().call_count(), 1);
}

#[test]
fn a_state_folder_that_cannot_be_one_is_a_clear_error() {
    let workspace = Workspace::sending();
    workspace.service("web", "1");
    fs::write(workspace.path().join("file"), "").unwrap();
    for (folder, why) in [
        ("file", "the state folder `file` is not a folder\n  hint: name another folder with --state-dir"),
        ("file/below", "the state folder `file/below` is not a folder"),
        ("/proc/truenorth", "cannot make the state folder `/proc/truenorth`: "),
    ] {
        misconfigured(&workspace.run(&["--reconcile-once", "--sandbox", "--state-dir", folder]), why);
    }
    misconfigured(&workspace.run(&["plan", "--state-dir", "file"]), "the state folder `file` is not a folder");
    let mut command = workspace.command(&["--reconcile-once"]);
    let homeless = Ran::of(command.env_remove("TRUENORTH_STATE_DIR").env_remove("HOME"));
    misconfigured(&homeless, "there is no folder for the ledger\n  hint: name one with --state-dir");
}

#[test]
fn a_port_that_is_taken_is_a_clear_error() {
    let (api, workspace) = (Api::new(), Workspace::sending());
    let address = api.url().replace("http://", "");
    let ran = workspace.run(&["sandbox", "--listen", &address]);
    misconfigured(&ran, &format!("listen on `{address}` for the sandbox: Address already in use"));
}

/// Ended with 78, said why and nothing else.
#[track_caller]
fn misconfigured(ran: &Ran, why: &str) {
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(78), ""), "{why}: {ran:#?}");
    assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(why), "{why}: {}", ran.stderr);
}
