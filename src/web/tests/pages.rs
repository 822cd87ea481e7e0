//! Each page, with a loop that is well, one that hangs and one that is gone.

use std::time::Duration;

use axum::http::{Method, header};

use super::*;
use crate::plan::Change;

const PATHS: [&str; 5] = ["/", "/healthz", "/readyz", "/metrics", "/status"];

#[tokio::test]
async fn a_living_loop_is_healthy_and_ready() {
    let pages = pages_of(living(Answers::new()));
    for (path, words) in [("/healthz", "ok\n"), ("/readyz", "ready\n")] {
        let got = get(&pages, path).await;
        assert_eq!((got.status, got.body.as_str()), (StatusCode::OK, words));
        assert_eq!(got.header("content-type"), Some("text/plain; charset=utf-8"));
    }
}

#[tokio::test]
async fn what_is_not_ready_says_why_in_a_line_each() {
    let reasons = vec!["the folder is missing:\nno such file".to_owned(), "the token is refused".to_owned()];
    let pages = pages_of(living(Answers { readiness: Readiness::NotReady(reasons), ..Answers::new() }));
    let got = get(&pages, "/readyz").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.body, "the folder is missing:\\nno such file\nthe token is refused\n");
    assert_eq!(get(&pages, "/healthz").await.status, StatusCode::OK, "not ready is not dead");
}

#[tokio::test(start_paused = true)]
async fn a_loop_that_hangs_is_unavailable_on_every_page_that_needs_it() {
    let (desk, waiting) = desk();
    let pages = pages_of(desk);
    for (path, limit) in [("/healthz", 2), ("/readyz", 2), ("/metrics", 5), ("/status", 5)] {
        let got = get(&pages, path).await;
        assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(got.body, format!("the daemon's loop has not answered within {limit} s\n"));
    }
    assert_eq!(get(&pages, "/").await.status, StatusCode::OK);
    drop(waiting);
    assert_eq!(get(&pages, "/healthz").await.body, "the daemon's loop has ended\n");
}

#[tokio::test]
async fn metrics_are_openmetrics_to_the_end() {
    let got = get(&pages_of(living(Answers::new())), "/metrics").await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(got.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(got.body.contains("\ntruenorth_services{state=\"unchanged\"} 40\n"), "{}", got.body);
    assert!(got.body.ends_with("\n# EOF\n"));
}

#[tokio::test]
async fn status_is_the_json_that_programs_rely_on() {
    let got = get(&pages_of(living(Answers::new())), "/status").await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert_eq!(got.body, serde_json::to_string(&status()).unwrap() + "\n", "one object on one line");
    insta::assert_json_snapshot!(status(), @r#"
    {
      "version": "0.0.0",
      "since": "2026-03-01T08:00:00Z",
      "revision": "git:4f2a91c07be7ab9d3c5f4f2a91c07be7ab9d3c5f+dirty",
      "converged": false,
      "look": {
        "succeeded": "2026-03-01T09:00:00Z",
        "age_seconds": 1.5,
        "error": null,
        "watching": "events"
      },
      "paused": {
        "by": "rate-limit",
        "until": "2026-03-01T10:00:00Z",
        "reason": "429"
      },
      "freezes": [],
      "services": [
        {
          "service": "acme/shop/checkout",
          "state": "backing-off",
          "desired": "sha256:c08dafdb54d4258d032a9f7d6c08c69819b92789d168981089cfaecd2dd49039",
          "applied": null,
          "manifest": "shop/checkout.yaml:1",
          "attempts": 3,
          "since": null,
          "next_attempt": "2026-03-01T09:00:08.25Z",
          "error": "the API is away",
          "drift": null,
          "suspension": null,
          "rollout": null
        }
      ],
      "problems": [
        {
          "file": "shop/bad.yaml",
          "line": 1,
          "column": 1,
          "path": "",
          "message": "is a pipe",
          "hint": "remove it"
        }
      ],
      "api": {
        "calls": 7,
        "remaining": 993
      },
      "quota": null,
      "drift": null
    }
    "#);
}

#[tokio::test]
async fn the_index_names_all_pages() {
    let pages = pages_of(living(Answers::new()));
    let got = get(&pages, "/").await;
    for path in &PATHS[1..] {
        assert!(got.body.contains(path), "{path} is missing in {}", got.body);
    }
}

#[tokio::test]
async fn a_head_is_told_what_a_get_would_bring() {
    let pages = pages_of(living(Answers::new()));
    for path in PATHS {
        let whole = get(&pages, path).await;
        let head = take(send(&pages, Request::head(path).body(Body::empty()).unwrap()).await).await;
        assert_eq!((head.status, head.body.as_str()), (whole.status, ""), "{path}");
        assert_eq!(head.header("content-length"), Some(whole.body.len().to_string().as_str()), "{path}");
        assert_eq!(head.header("content-type"), whole.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_refused_with_those_that_are_not() {
    let pages = pages_of(living(Answers::new()));
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        for path in PATHS {
            let request = Request::builder().method(&method).uri(path).body(Body::from("{}")).unwrap();
            let got = take(send(&pages, request).await).await;
            assert_eq!(got.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(got.header("allow"), Some("GET,HEAD"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_told_the_known_ones() {
    let pages = pages_of(living(Answers::new()));
    for path in ["/health", "/status/", "/metrics/x", "//", "/%2e%2e/status", "/healthz%00"] {
        let got = get(&pages, path).await;
        assert_eq!(got.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(got.body, "no such path: there are /healthz, /readyz, /metrics, /status and /whereabouts\n");
    }
}

#[tokio::test]
async fn a_query_changes_nothing() {
    let pages = pages_of(living(Answers::new()));
    assert_eq!(get(&pages, "/healthz?probe=1").await.body, "ok\n");
}

#[tokio::test]
async fn a_request_with_a_body_is_refused() {
    let pages = pages_of(living(Answers::new()));
    let got = take(send(&pages, Request::get("/status").body(Body::from("x")).unwrap()).await).await;
    assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(got.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_strangers_name_reads_nothing_on_loopback() {
    let request =
        |path: &str| Request::get(path).header(header::HOST, "rebound.example:9095").body(Body::empty()).unwrap();
    let here = pages_of(living(Answers::new()));
    let elsewhere = super::super::pages::pages(
        living(Answers::new()),
        Meters::new(),
        Whereabouts::default(),
        Hosts::allowing(&["*".to_owned()]),
    );
    for path in PATHS {
        let got = take(send(&here, request(path)).await).await;
        assert_eq!(got.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
        assert!(!got.body.contains("shop"), "{path}");
        assert_eq!(take(send(&elsewhere, request(path)).await).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn nothing_is_cached_and_nothing_is_open_to_other_origins() {
    let pages = pages_of(living(Answers::new()));
    for path in PATHS.into_iter().chain(["/none"]) {
        let request = Request::get(path).header(header::ORIGIN, "https://evil.example").body(Body::empty()).unwrap();
        let got = take(send(&pages, request).await).await;
        assert_eq!(got.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(got.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(got.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn large_answers_that_nobody_reads_are_few() {
    let pages = pages_of(living(Answers::new()));
    let request = || Request::get("/status").body(Body::empty()).unwrap();
    let mut unread = Vec::new();
    for _ in 0..4 {
        unread.push(send(&pages, request()).await);
    }
    let got = get(&pages, "/status").await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(got.body, "4 answers of this kind are on their way already; ask again\n");
    assert_eq!(get(&pages, "/healthz").await.status, StatusCode::OK, "the other pages do not wait for them");

    // One of them goes away while another is waiting for its turn.
    let (waited, ()) = tokio::join!(get(&pages, "/status"), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        unread.pop();
    });
    assert_eq!(waited.status, StatusCode::OK);
}

#[tokio::test]
async fn the_status_has_fields_and_digests_and_no_word_of_a_command() {
    let mut answers = Answers::new();
    let change = |path: &str| Change { path: path.to_owned(), from: Some("node old".to_owned()), to: None };
    answers.status.services[0].drift = Some(Drift {
        read_at: None,
        differences: vec![change("docker.customCommand"), change("external.imagePath")],
        undecided: vec![],
        left_alone_until: None,
        error: None,
    });
    let got: serde_json::Value = serde_json::from_str(&get(&pages_of(living(answers)), "/status").await.body).unwrap();
    let told = &got["services"][0]["drift"]["differences"];
    assert_eq!(told[0], serde_json::json!({"path": "docker.customCommand", "from": "[hidden]", "to": null}));
    assert_eq!(told[1]["from"], "node old");
}
