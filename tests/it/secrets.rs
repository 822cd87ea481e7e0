//! The token is planted, and looked for in every output and every file.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;
use truenorth::sandbox::{Fault, SECRET};

use crate::support::{Api, Daemon, Ran, TOKEN, Workspace, contents, eventually, manifest};

/// Where the token comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Planted {
    Environment,
    File,
}

const BOTH: [Planted; 2] = [Planted::Environment, Planted::File];

#[test]
fn no_command_shows_the_token() {
    for planted in BOTH {
        let (api, workspace) = (Api::new(), workspace());
        let url = api.url();
        let calls =
            |more: &[&str]| run(&workspace, planted, &[&["--reconcile-once", "--api-url", &url], more].concat());
        for arguments in [
            &["plan"][..],
            &["plan", "--output", "json"],
            &["validate"],
            &["validate", "--output", "json"],
            &["validate", "--output", "github"],
            &["status"],
            &["history"],
            &["why", "web"],
            &["schema"],
            &["completions", "bash"],
            &["--help"],
            &["plan", "--help"],
            &["--version"],
            &["--reconcile-once", "--sandbox", "--state-dir", "sandbox-state", "--log-level", "trace"],
        ] {
            run(&workspace, planted, arguments);
        }
        calls(&["--log-level", "trace"]).exits(1);
        calls(&["--output", "json", "--log-format", "json", "--log-level", "trace"]).exits(1);
        assert_eq!(api.world().update_count(), 2);
        assert_nothing_in_files(&workspace);
    }
}

#[test]
fn a_manifest_with_the_token_is_a_problem_wherever_a_token_is_at_hand() {
    let workspace = workspace();
    workspace.remove("bad.yaml");
    workspace.write("web.yaml", manifest("web", TOKEN));
    for planted in BOTH {
        for arguments in
            [&["validate"][..], &["plan"], &["plan", "--output", "json"], &["validate", "--output", "github"]]
        {
            let ran = run(&workspace, planted, arguments).exits(1);
            assert!(ran.stdout.contains("the manifest contains the API token"), "{arguments:?}: {}", ran.stdout);
        }
    }
    let mut unknown = workspace.command(&["validate", "--output", "json"]);
    Ran::of(unknown.env_remove("NORTHFLANK_API_TOKEN")).exits(0);
    let mut unreadable = workspace.command(&["plan", "--output", "json", "--token-file", "nowhere"]);
    Ran::of(unreadable.env_remove("NORTHFLANK_API_TOKEN")).exits(0);
}

#[test]
fn what_the_folder_has_of_the_token_is_shown_by_no_command_and_kept_by_no_sandbox() {
    let (api, workspace) = (Api::new(), workspace());
    workspace.write("image.yaml", manifest("image", TOKEN));
    workspace.write("id.yaml", manifest(TOKEN, "1"));
    workspace.write("credentials.yaml", manifest("credentials", "1") + &format!("    credentials: {TOKEN}\n"));
    workspace.write("reason.yaml", manifest("reason", "1") + &format!("policy:\n  suspend: {{reason: {TOKEN}}}\n"));
    workspace.write("depends.yaml", manifest("depends", "1") + &format!("policy:\n  dependsOn: [{TOKEN}]\n"));
    workspace.write(&format!("{TOKEN}.yaml"), manifest("file", "1"));
    workspace.write(&format!("{TOKEN}/bad.yaml"), "");
    workspace.write(&format!("{TOKEN}/notes.txt"), "");
    let url = api.url();
    for planted in BOTH {
        for arguments in [
            &["plan"][..],
            &["plan", "--output", "json"],
            &["plan", "--output", "markdown"],
            &["plan", "--live", "--sandbox"],
            &["validate"],
            &["validate", "--output", "json"],
            &["validate", "--output", "github"],
            &["status"],
            &["status", "--output", "json"],
            &["why", "file"],
            &["why", "image", "--output", "json"],
            &["history", "file"],
            &["doctor", "--api-url", &url],
            &["--reconcile-once", "--sandbox", "--state-dir", "sandbox-state", "--log-level", "trace"],
            &["--reconcile-once", "--sandbox", "--state-dir", "sandbox-state", "--output", "json"],
            &["--reconcile-once", "--api-url", &url, "--log-level", "trace"],
        ] {
            run(&workspace, planted, arguments);
        }
        for (path, bytes) in contents(workspace.path()) {
            assert!(
                !path.starts_with("state") && !path.starts_with("sandbox-state") || !holds_token(&bytes),
                "{path:?}"
            );
        }
    }
    assert_eq!(api.world().update_count(), 2, "those of `api` and `web`");
    let mut sandboxed = workspace.command(&["--sandbox", "--state-dir", "sandbox-state", "--log-level", "trace"]);
    sandboxed.args(["--log-format", "json", "--listen", "127.0.0.1:0"]);
    let daemon = Daemon::of(&mut sandboxed);
    eventually("it is a problem", || daemon.state("image") == "invalid");
    for path in ["/status", "/metrics", "/"] {
        assert!(!holds_token(daemon.page(path).1.as_bytes()), "{path}");
    }
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
}

#[test]
fn a_token_that_is_put_in_place_is_looked_for_in_manifests_that_stay_as_they_are() {
    const NEXT: &str = "nf-the-next-one-4d5e6f7a8b9c";
    let (api, workspace) = (Api::new(), workspace());
    workspace.remove("bad.yaml");
    workspace.write("web.yaml", manifest("web", NEXT));
    let mut command = Daemon::command(&workspace, &api, &["--token-file", "token", "--resync", "1h"]);
    let mut daemon = Daemon::of(command.env_remove("NORTHFLANK_API_TOKEN"));
    eventually("it is applied", || daemon.state("web") == "unchanged");
    fs::write(workspace.path().join("token"), NEXT).unwrap();
    daemon.signal(Signal::HUP);
    daemon.told("the token was replaced");
    daemon.told("the manifest contains the API token");
    eventually("it is a problem", || daemon.state("web") == "invalid");
    daemon.signal(Signal::TERM);
    daemon.ends_with(0);
}

#[test]
fn no_answer_of_the_api_brings_the_token_out() {
    let bearer = format!("Bearer {TOKEN}");
    let echo = |status| {
        let details =
            json!({"authorization": bearer, TOKEN: [TOKEN], "line": format!("\u{1b}[1m{TOKEN}\n{TOKEN}{TOKEN}")});
        Fault::error(status, TOKEN, &format!("refused: '{bearer}' {} {bearer}", "x".repeat(1000)), Some(details))
    };
    let elsewhere = format!("https://elsewhere.example.com/{TOKEN}?token={TOKEN}");
    for planted in BOTH {
        for fault in [
            echo(400),
            echo(401),
            echo(403),
            echo(404),
            echo(409),
            echo(429).with_header("retry-after", "3600"),
            echo(500),
            echo(503).with_header("x-echo", &bearer),
            Fault::redirect(&elsewhere),
            Fault::garbage(),
            Fault::drop(),
            Fault::html(502),
        ] {
            let (api, workspace) = (Api::new(), workspace());
            let name = fault.name();
            api.world().script(fault.always());
            let url = api.url();
            let once = ["--reconcile-once", "--log-level", "trace", "--deadline", "200ms", "--api-url", &url];
            let more: &[&str] = match planted {
                Planted::Environment => &["--log-format", "text"],
                Planted::File => &["--log-format", "json", "--output", "json"],
            };
            run(&workspace, planted, &[&once, more].concat());
            assert!(api.world().call_count() > 0, "{name}");
            for told in [&["status"][..], &["history"], &["why", "web"], &["why", "web", "--output", "json"]] {
                run(&workspace, planted, told).exits(0);
            }
            assert_nothing_in_files(&workspace);
        }
    }
}

#[test]
fn what_an_answer_holds_beside_the_deployment_goes_nowhere() {
    for api in Api::of_each_shape() {
        let workspace = workspace();
        let url = api.url();
        for more in [&[][..], &["--output", "json"], &["--update-call", "patch", "--no-adopt"]] {
            let once = ["--reconcile-once", "--log-level", "trace", "--api-url", &url];
            let ran = workspace.run(&[&once, more].concat());
            assert!(!ran.stdout.contains(SECRET) && !ran.stderr.contains(SECRET), "{ran:#?}");
            std::fs::write(workspace.path().join("manifests/more.yaml"), manifest("more", &more.len().to_string()))
                .unwrap();
        }
        let live = workspace.run(&["plan", "--live", "--log-level", "trace", "--api-url", &url]);
        assert!(!live.stdout.contains(SECRET) && !live.stderr.contains(SECRET), "{live:#?}");
        assert!(api.world().calls().iter().any(|call| call.method == "PATCH"), "PATCH answers with the whole service");
        for (path, bytes) in contents(workspace.path()) {
            assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{}", path.display());
        }
    }
}

#[test]
fn no_mistake_in_the_settings_brings_the_token_out() {
    let workspace = workspace();
    let urls = [
        format!("https://me:{TOKEN}@api.northflank.com"),
        format!("https://{TOKEN}@api.northflank.com"),
        format!("https://api.northflank.com/?token={TOKEN}"),
        format!("https://api.northflank.com/#{TOKEN}"),
        format!("http://api.northflank.com/{TOKEN}"),
        TOKEN.to_owned(),
    ];
    for url in &urls {
        run(&workspace, Planted::Environment, &["--reconcile-once", "--api-url", url]).exits(78);
        for arguments in [&["--reconcile-once"][..], &["--help"], &["-h"]] {
            let mut command = workspace.command(arguments);
            assert_hidden(&Ran::of(command.env("NORTHFLANK_API_URL", url)), "a bad URL in the environment");
        }
    }
    // A token that is none: two lines of it, a blank in it, too much of it.
    for text in [format!("{TOKEN}\n{TOKEN}\n"), format!("Bearer {TOKEN}"), format!("{TOKEN}\u{e9}"), TOKEN.repeat(400)]
    {
        fs::write(workspace.path().join("token"), &text).unwrap();
        run(&workspace, Planted::File, &["--reconcile-once"]).exits(78);
        let mut command = workspace.command(&["--reconcile-once"]);
        assert_hidden(&Ran::of(command.env("NORTHFLANK_API_TOKEN", &text)).exits(78), "a bad token");
    }
    // Given where no token is taken.
    for option in ["--token", "--api-token", "--northflank-api-token"] {
        let with_value = format!("{option}={TOKEN}");
        run(&workspace, Planted::Environment, &["--reconcile-once", &with_value]).exits(64);
        run(&workspace, Planted::Environment, &["--reconcile-once", option, TOKEN]).exits(64);
    }
    // Nobody is there to hear it.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{closed}");
    let unheard = ["--reconcile-once", "--log-level", "trace", "--deadline", "200ms", "--api-url", &url];
    run(&workspace, Planted::Environment, &unheard).exits(1);
    // And to a door that speaks no HTTP, but repeats what it hears.
    let url = format!("http://{}", parrot());
    let repeated = ["--reconcile-once", "--log-level", "trace", "--deadline", "200ms", "--api-url", &url];
    run(&workspace, Planted::Environment, &repeated).exits(1);
    fs::remove_file(workspace.path().join("token")).unwrap();
    assert_nothing_in_files(&workspace);
}

#[test]
fn a_token_file_that_everybody_can_read_is_worth_a_warning_without_its_content() {
    use std::os::unix::fs::PermissionsExt as _;
    let (api, workspace) = (Api::new(), workspace());
    let file = workspace.path().join("token");
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let ran = run(&workspace, Planted::File, &["--reconcile-once", "--api-url", &api.url()]);
        assert_eq!(ran.stderr.contains("can be read by every user"), warned, "{mode:o}: {}", ran.stderr);
    }
}

/// Two good manifests and a bad one, and a file `token` for its owner only.
fn workspace() -> Workspace {
    use std::os::unix::fs::OpenOptionsExt as _;
    let workspace = Workspace::new();
    workspace.service("api", "1");
    workspace.service("web", "1");
    workspace.write("bad.yaml", "a: {b: c\n");
    let token = workspace.path().join("token");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(token).unwrap();
    std::io::Write::write_all(&mut file, format!("{TOKEN}\n").as_bytes()).unwrap();
    workspace
}

/// Runs a command with the token at hand, and looks for it in what is printed.
#[track_caller]
fn run(workspace: &Workspace, planted: Planted, arguments: &[&str]) -> Ran {
    let mut command = workspace.command(arguments);
    if planted == Planted::File {
        command.env_remove("NORTHFLANK_API_TOKEN").env("TRUENORTH_TOKEN_FILE", "token");
    }
    let ran = Ran::of(&mut command);
    assert_hidden(&ran, &format!("{planted:?} {arguments:?}"));
    ran
}

#[track_caller]
fn assert_hidden(ran: &Ran, what: &str) {
    for (stream, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        assert!(!holds_token(text.as_bytes()), "{what} shows the token on {stream}:\n{text}");
    }
}

/// Looks for the token in every file but the one that holds it.
#[track_caller]
fn assert_nothing_in_files(workspace: &Workspace) {
    let files = contents(workspace.path());
    assert!(files.iter().any(|(path, _)| path.ends_with("ledger.sqlite")), "there is no ledger to look into");
    for (path, bytes) in files {
        let name = path.to_string_lossy();
        assert!(!holds_token(name.as_bytes()), "{name}");
        assert!(path == Path::new("token") || !holds_token(&bytes), "{name} holds the token");
    }
}

/// Whether the telling part of the token is in there: as it stands, or in base64 at any of its three offsets.
fn holds_token(bytes: &[u8]) -> bool {
    let telling = TOKEN.rsplit('-').next().unwrap();
    let mut needles = vec![telling.to_owned()];
    for offset in 0..3 {
        let shifted = [&b"###"[..offset], telling.as_bytes()].concat();
        let encoded = base64(&shifted);
        // The characters at both ends depend on what stands beside the token.
        let (from, to) = ((offset * 8).div_ceil(6), shifted.len() * 8 / 6);
        needles.push(encoded[from..to].to_owned());
    }
    needles.iter().any(|needle| bytes.windows(needle.len()).any(|window| window == needle.as_bytes()))
}

/// Base64 without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().enumerate().fold(0_u32, |group, (at, byte)| group | u32::from(*byte) << (16 - 8 * at));
        let digits = (0..=chunk.len()).map(|at| DIGITS[(group >> (18 - 6 * at)) as usize & 63]);
        text.extend(digits.map(char::from));
    }
    text
}

#[test]
fn what_looks_for_the_token_finds_it() {
    assert_eq!(base64(b"Man is"), "TWFuIGlz");
    for text in ["", "a", "ab", "abc"] {
        assert!(holds_token(format!("{text}{TOKEN}{text}").as_bytes()));
        assert!(holds_token(base64(format!("{text}{TOKEN} and more").as_bytes()).as_bytes()), "{text:?}");
    }
    assert!(!holds_token(b"nf-planted-and nothing more"));
}

/// Sends back to one caller after another what it says.
fn parrot() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the test's process.
    std::thread::spawn(move || {
        for caller in listener.incoming().map_while(Result::ok) {
            let mut heard = [0; 4096];
            let mut caller = caller;
            if let Ok(length) = std::io::Read::read(&mut caller, &mut heard) {
                let _ = std::io::Write::write_all(&mut caller, &heard[..length]);
            }
        }
    });
    address
}
