//! Answers: whatever the API's place sends, a call ends, and neither the token nor a command comes out again.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use truenorth::model::{DeploymentUpdate, Docker, DockerConfig, RuntimeUpdate, ServiceKey};
use truenorth::northflank::{Client, Settings, Token};

use super::{CANARY, assert_shown, rounds};

/// A server that answers each connection with what stands here at that moment, and closes it.
fn server(answer: Arc<Mutex<Vec<u8>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // Ends with the test's process.
    std::thread::spawn(move || {
        for mut caller in listener.incoming().map_while(Result::ok) {
            let _ = caller.read(&mut [0; 4096]);
            let _ = caller.write_all(&answer.lock().unwrap());
        }
    });
    url
}

#[test]
fn any_answer_ends_the_call_and_brings_no_secret_out() {
    let secret = "swordfish-42-of-the-command";
    let said = format!("the token {CANARY} may not send customCommand `node --key {secret}`");
    let body = |json: &str| {
        format!(
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
            json.len()
        )
    };
    let seeds: Vec<Vec<u8>> = [
        body(&format!(r#"{{"error": {{"message": "{said}", "id": "x", "details": {{"customCommand": ["{secret}"]}}}}}}"#)),
        body(&format!("<html><title>{said}</title>")).replace("400 Bad Request", "502 Bad Gateway"),
        body(r#"{"data": {"id": "web", "serviceType": "deployment", "deployment": {"instances": 1, "external": {"imagePath": "nginx:1"}}}}"#)
            .replace("400 Bad Request", "200 OK"),
        format!("HTTP/1.1 429 Slow\r\nretry-after: 5\r\nx-ratelimit-limit: 10\r\nx-ratelimit-remaining: 0\r\nx-ratelimit-reset: 9\r\nlocation: /{CANARY}\r\n\r\n"),
    ]
    .map(String::into_bytes)
    .into();
    let others: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    let answer = Arc::new(Mutex::new(Vec::new()));
    let url = server(Arc::clone(&answer));
    let settings = Settings::new(url.parse().unwrap(), Duration::from_millis(500));
    let client = Client::new(settings, Token::new(CANARY).unwrap()).unwrap();
    let key: ServiceKey = "shop/web".parse().unwrap();
    let docker = Docker::new(DockerConfig::CustomCommand, None, Some(format!("node --key {secret}"))).unwrap();
    let update = DeploymentUpdate::Runtime(RuntimeUpdate::Docker { docker });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut failed = 0;
    rounds(400, |round, mutator| {
        let seed = *mutator.one(&others);
        *answer.lock().unwrap() = mutator.changed(seed, &others);
        let error = match round % 2 {
            0 => runtime.block_on(client.update_deployment(&key, &update)).err(),
            _ => runtime.block_on(client.read_service(&key)).err(),
        };
        let Some(error) = error else { return };
        failed += 1;
        let told = format!("{} {:?} {:?}", truenorth::error::chain(&error), error.disposition(), error.delivery());
        assert!(told.len() < 20_000, "round {round}");
        assert!(!told.contains(CANARY) && !format!("{error:?}").contains(CANARY), "round {round}: {told}");
        // Only an update knows its command; no call shows a reader anything of ours.
        assert!(round % 2 == 1 || !told.contains("swordfish"), "round {round}: {told}");
        assert_shown(&truenorth::text::printable(&told).to_string());
    });
    assert!(failed > 200, "{failed} of the answers were failures");
}
