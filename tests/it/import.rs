//! `import`: manifests from what runs, and whether a first pass would find anything to do.

use std::os::unix::fs::symlink;
use std::time::Duration;

use serde_json::{Value, json};
use truenorth::sandbox::{Fault, Live, Operation, Options, Running, Runtime, SECRET, Services, Shape, Target, Wait};

use crate::support::{Api, Ran, TOKEN, Terminal, Workspace, contents, eventually, manifest, plain};

/// `import --project shop --out out`, with JSON on stdout.
fn import(workspace: &Workspace, api: &Api, more: &[&str]) -> Ran {
    let arguments = ["import", "--project", "shop", "--out", "out", "--output", "json", "--api-url", &api.url()];
    workspace.run(&[&arguments[..], more].concat())
}

/// `service: outcome` of every service.
fn outcomes(ran: &Ran) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let services = ran.json()["services"].as_array().unwrap().clone();
    services.iter().map(|service| format!("{}: {}", text(&service["service"]), text(&service["outcome"]))).collect()
}

fn of(ran: &Ran, service: &str) -> Value {
    let services = ran.json()["services"].as_array().unwrap().clone();
    services.into_iter().find(|one| one["service"] == service).unwrap_or_else(|| panic!("no {service} in {ran:#?}"))
}

fn private(image: &str) -> Live {
    Live {
        running: Running::Image { image: image.to_owned(), credentials: Some("ghcr".to_owned()) },
        ..Live::default()
    }
}

fn command(text: &str) -> Option<Runtime> {
    Some(Runtime { custom_command: Some(text.to_owned()), ..Runtime::of_type("customCommand") })
}

fn read(workspace: &Workspace, file: &str) -> String {
    std::fs::read_to_string(workspace.path().join("out").join(file)).unwrap()
}

/// A shop with a service of every kind.
fn shop() -> Api {
    shop_shown_as(Shape::Flat)
}

/// One service, of a private image, as the flat shape shows it.
pub(crate) fn private_shop() -> Api {
    let api = Api::with(Options { services: Services::Only(vec![]), ..Options::default() });
    api.world().set_live("shop/web", Live { docker: None, ..private("ghcr.io/acme/web:1.2") });
    api
}

fn shop_shown_as(shape: Shape) -> Api {
    let api = Api::with(Options { shape, services: Services::Only(vec![]), ..Options::default() });
    let world = api.world();
    world.set_live("shop/web", Live { docker: command("node web.js\n--port 80\n"), ..private("ghcr.io/acme/web:1.2") });
    world.set_live("shop/cache", Live { docker: None, ..Live::deployment("redis:7") });
    let running = Running::Build {
        service: "builder".into(),
        branch: Some("main".into()),
        sha: Some("latest".into()),
        build: None,
    };
    world.set_live("shop/api", Live { running, ..Live::default() });
    world.set_live("shop/site", Live::combined());
    world.set_live("shop/builder", Live::build());
    api
}

#[test]
fn a_project_is_written_validates_and_its_plan_is_empty() {
    let (api, workspace) = (shop(), Workspace::new());
    let ran = import(&workspace, &api, &[]).exits(0);
    assert_eq!(
        outcomes(&ran),
        [
            "shop/api: written",
            "shop/builder: skipped",
            "shop/cache: written",
            "shop/site: written",
            "shop/web: written"
        ]
    );
    assert_eq!((&ran.json()["empty"], &ran.json()["api"]["calls"]), (&json!(true), &json!(5)));
    assert_eq!(
        of(&ran, "shop/web")["untold"],
        json!([{"path": "external.credentials", "why": "live uses credentials and does not show which"}])
    );
    insta::assert_snapshot!(read(&workspace, "shop/web.yaml"), @r"
    # Written by `truenorth import` from what runs.
    apiVersion: truenorth/v1
    kind: ServiceDeployment
    metadata:
      projectId: shop
      serviceId: web
    spec:
      external:
        imagePath: ghcr.io/acme/web:1.2
        # credentials: <id of the saved credentials>
      docker:
        configType: customCommand
        customCommand: |
          node web.js
          --port 80
    ");
    insta::assert_snapshot!(read(&workspace, "shop/api.yaml"), @r"
    # Written by `truenorth import` from what runs.
    apiVersion: truenorth/v1
    kind: ServiceDeployment
    metadata:
      projectId: shop
      serviceId: api
    spec:
      internal:
        id: builder
        branch: main
        buildSHA: latest
      docker:
        configType: default
    ");
    assert!(read(&workspace, "shop/site.yaml").ends_with("spec:\n  docker:\n    configType: default\n"));
    assert!(read(&workspace, "shop/cache.yaml").ends_with("spec:\n  external:\n    imagePath: redis:7\n"));
    workspace.run(&["validate", "--manifests", "out"]).exits(0);

    // What is sent from these manifests changes nothing but the credentials, which nobody has written in yet.
    let before = ["shop/api", "shop/cache", "shop/site"].map(|service| api.world().live(service));
    workspace.run(&["--reconcile-once", "--manifests", "out", "--api-url", &api.url()]).exits(0);
    assert_eq!(["shop/api", "shop/cache", "shop/site"].map(|service| api.world().live(service)), before);
}

#[test]
fn credentials_are_written_where_live_shows_them_and_secrets_never() {
    let (api, workspace) = (shop_shown_as(Shape::Mirror), Workspace::new());
    let ran = import(&workspace, &api, &[]).exits(0);
    assert_eq!((&of(&ran, "shop/web")["untold"], &ran.json()["empty"]), (&json!([]), &json!(true)));
    let manifest = read(&workspace, "shop/web.yaml");
    assert!(manifest.contains("imagePath: ghcr.io/acme/web:1.2\n    credentials: ghcr\n"), "{manifest}");
    assert!(read(&workspace, "shop/cache.yaml").ends_with("spec:\n  external:\n    imagePath: redis:7\n"));
    assert!(read(&workspace, "shop/api.yaml").contains("    branch: main\n    buildSHA: latest\n"));

    let services = ["shop/api", "shop/cache", "shop/site", "shop/web"];
    let before = services.map(|service| api.world().live(service));
    let once = ["--reconcile-once", "--manifests", "out", "--log-level", "trace", "--api-url", &api.url()];
    let pass = workspace.run(&once).exits(0);
    assert_eq!((services.map(|service| api.world().live(service)), api.world().update_count()), (before, 0));
    for text in [&ran.stdout, &ran.stderr, &pass.stdout, &pass.stderr] {
        assert!(!text.contains(SECRET), "{text}");
    }
    for (path, bytes) in contents(workspace.path()) {
        assert!(!String::from_utf8_lossy(&bytes).contains(SECRET), "{}", path.display());
    }
}

#[test]
fn credentials_that_a_manifest_would_drop_are_told_until_it_says_that_none_are_wanted() {
    for shape in Shape::ALL {
        let (api, workspace) = (shop_shown_as(shape), Workspace::new());
        let manifest = manifest("web", "1.2");
        workspace.write("web.yaml", &manifest);
        let url = api.url();
        let plan =
            || workspace.run(&["plan", "--live", "--output", "json", "--api-url", &url]).exits(0).service("shop/web");
        let warning = plan()["warnings"][0].as_str().unwrap_or_default().to_owned();
        assert!(warning.contains("an update by this manifest would drop them"), "{warning}");
        assert_eq!(warning.contains("credentials: ghcr"), shape == Shape::Mirror, "{warning}");
        let text = workspace.run(&["plan", "--live", "--api-url", &url]).exits(0).stdout;
        assert!(text.contains("warning: live uses the credentials"), "{text}");

        api.world().edit("shop/web", |live| live.docker = None);
        let ran = workspace.once(&api, &[]).exits(0);
        assert_eq!((ran.service("shop/web")["outcome"].as_str(), api.world().update_count()), (Some("adopted"), 0));
        assert!(ran.stderr.contains("would drop them"), "{}", ran.stderr);

        workspace.write("web.yaml", manifest + "policy: {credentials: none}\n");
        assert_eq!(plan()["warnings"], Value::Null);
        std::fs::remove_dir_all(workspace.state()).unwrap();
        let ran = workspace.once(&api, &[]).exits(0);
        assert!(!ran.stderr.contains("would drop them"), "{}", ran.stderr);
    }
}

#[test]
fn it_is_told_as_people_read_it() {
    let (api, workspace) = (shop(), Workspace::new());
    let ran = workspace.run(&["import", "--project", "shop", "--out", "out", "--api-url", &api.url()]).exits(0);
    insta::assert_snapshot!(ran.stdout, @r"
    + written   shop/api  out/shop/api.yaml
    = skipped   shop/builder
        a service of type build deploys nothing
    + written   shop/cache  out/shop/cache.yaml
    + written   shop/site  out/shop/site.yaml
    + written   shop/web  out/shop/web.yaml
        external.credentials  live uses credentials and does not show which
    4 written, 1 skipped; 5 calls, 995 left in this window
    nothing to send: 4 services match live; live does not give everything of 1 service, see the comments in the files
    ");
    assert_eq!(ran.stderr, "");
    let help = workspace.run(&["import", "--help"]).exits(0).stdout;
    assert!(help.contains("truenorth import --project shop --out manifests\n"), "{help}");
}

#[test]
fn the_help_breaks_its_paragraphs_where_the_terminal_does() {
    let workspace = Workspace::new();
    for columns in [60, 100] {
        let mut terminal = Terminal::start(&mut workspace.command(&["import", "--help"]), columns, 200);
        terminal.ends_with(0);
        eventually("all is shown", || terminal.shown().contains("every command."));
        let shown = plain(&terminal.shown());
        let lines: Vec<&str> = shown.lines().map(str::trim_end).collect();
        let from = lines.iter().position(|line| line.starts_with("The files are")).unwrap();
        // The next word would not have had room: no line ends before its time.
        for pair in lines[from..].windows(2).filter(|pair| !pair[0].is_empty() && !pair[1].is_empty()) {
            let next = pair[1].split(' ').next().unwrap();
            let together = pair[0].chars().count() + 1 + next.chars().count();
            assert!(together > usize::from(columns), "{columns}: {pair:#?}");
        }
    }
}

/// The last line of the text, which says whether a first pass would find anything to do.
fn verdict(workspace: &Workspace, api: &Api, more: &[&str], code: i32) -> String {
    let arguments = ["import", "--project", "shop", "--out", "out", "--api-url", &api.url()];
    let ran = workspace.run(&[&arguments[..], more].concat()).exits(code);
    ran.stdout.lines().last().unwrap().to_owned()
}

#[test]
fn a_plan_is_not_called_empty_where_a_service_failed() {
    let (api, workspace) = (shop(), Workspace::new());
    let told = verdict(&workspace, &api, &["--service", "nosuch"], 1);
    assert_eq!(told, "something to send: 1 service has no manifest");
    let told = verdict(&workspace, &api, &["--service", "cache,nosuch"], 1);
    assert_eq!(told, "something to send: 1 service has no manifest; 1 service matches live");
    let edited = read(&workspace, "shop/cache.yaml").replace("redis:7", "redis:8");
    std::fs::write(workspace.path().join("out/shop/cache.yaml"), edited).unwrap();
    let told = verdict(&workspace, &api, &["--service", "cache,nosuch"], 1);
    assert_eq!(told, "something to send: 1 service differs from live, 1 service has no manifest");
    let told = verdict(&workspace, &api, &["--service", "builder"], 0);
    assert_eq!(told, "nothing to send: nothing is deployed");
}

#[test]
fn a_second_run_tells_again_what_live_does_not_give_until_it_is_written_in() {
    let (api, workspace) = (shop(), Workspace::new());
    let untold = |ran: &Ran| of(ran, "shop/web")["untold"].clone();
    let first = untold(&import(&workspace, &api, &[]).exits(0));
    let again = import(&workspace, &api, &[]).exits(0);
    assert_eq!((&of(&again, "shop/web")["outcome"], &untold(&again)), (&json!("kept"), &first));
    let written =
        read(&workspace, "shop/web.yaml").replace("# credentials: <id of the saved credentials>", "credentials: ghcr");
    std::fs::write(workspace.path().join("out/shop/web.yaml"), written).unwrap();
    let complete = import(&workspace, &api, &[]).exits(0);
    assert_eq!((&of(&complete, "shop/web")["outcome"], untold(&complete)), (&json!("kept"), json!([])));
}

#[test]
fn a_manifest_that_is_there_is_kept_and_compared() {
    let (api, workspace) = (shop(), Workspace::new());
    import(&workspace, &api, &[]).exits(0);
    let before = contents(workspace.path());
    let again = import(&workspace, &api, &[]).exits(0);
    assert_eq!(of(&again, "shop/web")["outcome"], "kept");
    assert_eq!(contents(workspace.path()), before, "a file was touched");

    // By hand: a newer image in one file, another file's manifest elsewhere, and one that is no manifest any more.
    let out = workspace.path().join("out");
    std::fs::write(out.join("shop/cache.yaml"), read(&workspace, "shop/cache.yaml").replace("redis:7", "redis:8"))
        .unwrap();
    std::fs::rename(out.join("shop/api.yaml"), out.join("mine.yml")).unwrap();
    std::fs::write(out.join("shop/site.yaml"), "precious").unwrap();
    api.world().clear_calls();
    let ran = import(&workspace, &api, &[]).exits(1);
    assert_eq!(
        outcomes(&ran),
        ["shop/api: kept", "shop/builder: skipped", "shop/cache: kept", "shop/site: failed", "shop/web: kept"]
    );
    assert_eq!(of(&ran, "shop/api")["file"], "mine.yml");
    let change = json!([{"path": "external.imagePath", "from": "redis:7", "to": "redis:8"}]);
    assert_eq!(of(&ran, "shop/cache")["differences"], change);
    assert!(of(&ran, "shop/site")["message"].as_str().unwrap().contains("--force"), "{ran:#?}");
    assert_eq!(api.calls_of("shop/site"), 0, "a call for a file that stands in the way");
    assert_eq!(read(&workspace, "shop/site.yaml"), "precious");

    let forced = import(&workspace, &api, &["--force"]).exits(0);
    assert_eq!(
        outcomes(&forced),
        ["shop/api: kept", "shop/builder: skipped", "shop/cache: written", "shop/site: written", "shop/web: written"]
    );
    assert!(read(&workspace, "shop/cache.yaml").contains("redis:7") && !out.join("shop/api.yaml").exists());
}

#[test]
fn a_service_that_a_broken_manifest_names_gets_no_second_one() {
    let (api, workspace) = (shop(), Workspace::new());
    import(&workspace, &api, &[]).exits(0);
    let out = workspace.path().join("out");
    let broken = read(&workspace, "shop/cache.yaml").replace("redis:7", "redis");
    std::fs::write(out.join("mine.yaml"), broken).unwrap();
    std::fs::remove_file(out.join("shop/cache.yaml")).unwrap();
    let ran = import(&workspace, &api, &[]).exits(1);
    assert!(of(&ran, "shop/cache")["message"].as_str().unwrap().contains("has a problem"), "{ran:#?}");
    assert!(!out.join("shop/cache.yaml").exists());
}

#[test]
fn a_named_service_and_a_team_cost_one_call() {
    let (api, workspace) = (Api::of_services(&["acme/shop/web", "acme/shop/api", "shop/web"]), Workspace::new());
    let ran = import(&workspace, &api, &["--team", "acme", "--service", "web"]).exits(0);
    assert_eq!((outcomes(&ran), ran.json()["api"]["calls"].clone()), (vec!["acme/shop/web: written".into()], json!(1)));
    assert!(read(&workspace, "acme/shop/web.yaml").contains("  teamId: acme\n"));
    let gone = import(&workspace, &api, &["--service", "web", "--service", "nosuch"]).exits(1);
    assert_eq!(outcomes(&gone), ["shop/nosuch: failed", "shop/web: written"]);
    assert!(of(&gone, "shop/nosuch")["message"].as_str().unwrap().contains("404"), "{gone:#?}");
}

#[test]
fn what_the_api_calls_its_services_leads_nowhere() {
    let (api, workspace) = (Api::of_services(&[]), Workspace::new());
    let outside = workspace.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let names = [
        "../../evil",
        "..",
        "a\u{1b}[2Jb",
        ".hidden",
        "yes",
        "1.0",
        "# no",
        "über: all",
        "'q'",
        "x/y",
        "null",
        "0x1f",
        "2027-01-31",
        &"w".repeat(200),
    ];
    for name in names {
        api.world()
            .set_live(Target::new("shop", name), Live { docker: command("a: #\n\tb\u{0}"), ..private("nginx:1") });
    }
    let ran = import(&workspace, &api, &[]).exits(1);
    for service in ran.json()["services"].as_array().unwrap() {
        let name = service["service"].as_str().unwrap().strip_prefix("shop/").unwrap();
        let refused = name.contains(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        assert_eq!(service["outcome"], if refused { "failed" } else { "written" }, "{service}");
    }
    workspace.run(&["validate", "--manifests", "out"]).exits(0);
    let files: Vec<_> = contents(workspace.path()).into_iter().map(|(path, _)| path).collect();
    assert!(
        files.iter().all(|path| path.starts_with("out") || *path == *"manifests" || *path == *"outside"),
        "{files:?}"
    );
    let text = workspace.run(&["import", "--project", "shop", "--out", "out", "--api-url", &api.url()]).exits(1);
    assert!(!text.stdout.contains('\u{1b}'), "{}", text.stdout);

    std::fs::remove_dir_all(workspace.path().join("out/shop")).unwrap();
    symlink(&outside, workspace.path().join("out/shop")).unwrap();
    import(&workspace, &api, &["--force"]).exits(1);
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0, "it wrote through a link");
}

#[test]
fn it_waits_for_the_rate_limit_and_tries_again_what_passes() {
    let (api, workspace) = (shop(), Workspace::new());
    let world = api.world();
    world.script(Fault::rate_limited(Wait::RetryAfter(1)).on(Operation::GetService));
    world.script(Fault::status(503).on(Operation::ListServices));
    world.script(Fault::garbage().on(Operation::GetService));
    let ran = import(&workspace, &api, &[]).exits(0);
    assert!(ran.stderr.contains("the rate limit is used up: waiting 1 s, until "), "{}", ran.stderr);
    assert_eq!(ran.json()["empty"], true);
}

#[test]
fn a_project_of_many_services_comes_in_pages() {
    let api = Api::with(Options { limit: 10_000, rollout: Duration::ZERO, ..Options::default() });
    for number in 0..250 {
        api.world().set_live(format!("shop/s{number}"), Live::deployment("nginx:1"));
    }
    let workspace = Workspace::new();
    let ran = import(&workspace, &api, &[]).exits(0);
    assert_eq!((outcomes(&ran).len(), ran.json()["api"]["calls"].clone()), (250, json!(253)));
}

#[test]
fn half_of_a_project_is_not_taken_for_the_whole() {
    let page = |id: &str, next: &str| {
        let services = json!([{"id": id, "serviceType": "deployment"}]);
        json!({"data": {"services": services}, "pagination": {"hasNextPage": true, "cursor": next, "count": 1}})
    };
    let (api, workspace) = (shop(), Workspace::new());
    for (id, next) in [("web", "aa"), ("cache", "bb"), ("api", "aa")] {
        api.world().script(Fault::json(200, page(id, next)).on(Operation::ListServices));
    }
    let ran = import(&workspace, &api, &[]).exits(1);
    assert!(ran.stderr.contains("a page leads back to one that was read already"), "{}", ran.stderr);
    assert_eq!(api.world().call_count(), 3, "neither followed for ever nor believed");
    assert!(!workspace.path().join("out/shop").exists());
}

#[test]
fn pages_without_a_new_service_end_soon_however_many_are_said_to_follow() {
    let page = |services: &[&str], next: Option<u32>| {
        let services: Vec<_> = services.iter().map(|id| json!({"id": id, "serviceType": "deployment"})).collect();
        let cursor = next.map(|next| format!("c{next}"));
        let pagination = json!({"hasNextPage": cursor.is_some(), "cursor": cursor, "count": services.len()});
        Fault::json(200, json!({"data": {"services": services}, "pagination": pagination})).on(Operation::ListServices)
    };
    for services in [&[][..], &["web"]] {
        let (api, workspace) = (shop(), Workspace::new());
        api.world().script(page(&["web"], Some(0)));
        (1..50).for_each(|next| api.world().script(page(services, Some(next))));
        let ran = import(&workspace, &api, &[]).exits(1);
        assert!(ran.stderr.contains("5 pages in a row have no new service"), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: name the services that are meant"), "{}", ran.stderr);
        assert_eq!(api.world().call_count(), 6);
        assert!(!workspace.path().join("out/shop").exists());
    }
    // One that is empty among others is not the end.
    let (api, workspace) = (shop(), Workspace::new());
    (0..4).for_each(|next| api.world().script(page(&[], Some(next))));
    api.world().script(page(&["web"], None));
    let ran = import(&workspace, &api, &[]).exits(0);
    assert_eq!((outcomes(&ran).len(), api.world().call_count()), (1, 6));
}

#[test]
fn what_cannot_begin_says_why() {
    let (api, workspace) = (shop(), Workspace::new());
    let gone = workspace.run(&["import", "--project", "nosuch", "--out", "out", "--api-url", &api.url()]).exits(1);
    assert!(gone.stderr.contains("cannot list the services of project `nosuch`"), "{}", gone.stderr);
    assert!(gone.stderr.contains("\n  hint: "), "{}", gone.stderr);

    let strict = Api::of_token("another");
    let refused = import(&workspace, &strict, &[]).exits(1);
    assert!(refused.stderr.contains("401") && !refused.stderr.contains(TOKEN), "{}", refused.stderr);
    assert_eq!(strict.world().call_count(), 1);

    std::fs::write(workspace.path().join("file"), "").unwrap();
    let ran = workspace.run(&["import", "--project", "shop", "--out", "file", "--api-url", &api.url()]).exits(78);
    assert!(ran.stderr.contains("cannot write to the folder `file`: "), "{}", ran.stderr);
    for arguments in [
        &["import", "--out", "out"][..],
        &["import", "--project", "shop"],
        &["import", "--project", "a/b", "--out", "out"],
        &["import", "--project", "shop", "--out", "out", "--service", ".."],
    ] {
        workspace.run(arguments).exits(64);
    }
    let mut command = workspace.command(&["import", "--project", "shop", "--out", "out"]);
    Ran::of(command.env_remove("NORTHFLANK_API_TOKEN")).exits(78);
}
