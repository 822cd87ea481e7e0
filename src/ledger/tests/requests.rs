use super::*;
use crate::ledger::{PersonRequest, Reader, RequestKind, TakenRequest, ask};

fn request(kind: RequestKind, target: Option<&str>, second: i64) -> PersonRequest {
    let until = (kind == RequestKind::Freeze).then(|| at(second + 3600));
    PersonRequest {
        kind,
        target: target.map(key),
        reason: Some("sale".into()),
        by: "kim".into(),
        at: at(second),
        until,
        way_back: None,
    }
}

fn frozen(dir: &Path) -> Vec<Option<String>> {
    let freezes = Reader::open(dir).unwrap().unwrap().freezes().unwrap();
    freezes.into_iter().map(|freeze| freeze.service.map(|service| service.to_string())).collect()
}

#[test]
fn a_freeze_holds_until_its_target_or_everything_is_thawed() {
    use RequestKind::{Freeze, Thaw};
    let dir = folder();
    let asks = |kind, target, second| ask(dir.path(), &[request(kind, target, second)], here(), at(second)).unwrap();
    assert!(!asks(Freeze, Some("shop/web"), 1), "nobody has the ledger");
    asks(Freeze, Some("shop/api"), 2);
    asks(Freeze, Some("shop/web"), 3);
    let (web, api) = (Some("shop/web".to_owned()), Some("shop/api".to_owned()));
    assert_eq!(frozen(dir.path()), [api.clone(), web.clone()], "the newer one takes the place of the older");
    asks(Freeze, None, 4);
    asks(Thaw, Some("shop/web"), 5);
    assert_eq!(frozen(dir.path()), [api, None]);
    asks(Thaw, None, 6);
    assert_eq!(frozen(dir.path()), []);
    asks(Freeze, Some("shop/web"), 7);
    assert_eq!(frozen(dir.path()), [web]);
    asks(RequestKind::Forget, Some("shop/web"), 8);
    assert_eq!(frozen(dir.path()), [], "nothing is remembered of it");
}

#[tokio::test]
async fn requests_are_written_beside_the_holder_and_its_ledger_stays_the_last_one() {
    let dir = folder();
    let ledger = open(dir.path());
    let call = ledger.intend(intent("shop/web", "1")).await.unwrap();
    let bell = ledger.bell();
    let path = dir.path().to_owned();
    let retry = request(RequestKind::Retry, Some("shop/web"), 1);
    let heard = tokio::task::spawn_blocking(move || ask(&path, &[retry], here(), at(1)).unwrap()).await.unwrap();
    assert!(heard);
    bell.rung().await;
    ledger.record(call, ACCEPTED, at(2)).await.unwrap();
    let open_requests = ledger.reader().open_requests().unwrap();
    assert_eq!(open_requests.len(), 1);
    assert_eq!(open_requests[0].request, request(RequestKind::Retry, Some("shop/web"), 1));
    let taken = TakenRequest { id: open_requests[0].id, result: "tried again".to_owned(), forgets: None, at: at(3) };
    keep(&ledger, Keep::Taken(taken)).await;
    assert!(ledger.reader().open_requests().unwrap().is_empty());
    drop(ledger);

    let ledger = open(dir.path());
    assert_eq!(known(&ledger, "shop/web"), applied("shop/web", "1"), "it is not mistrusted");
    let all = ledger.reader().requests(Some(&key("shop/web")), 10).unwrap();
    assert_eq!((all[0].taken_at, all[0].result.as_deref()), (Some(at(3)), Some("tried again")));
    assert!(ledger.reader().requests(Some(&key("shop/api")), 10).unwrap().is_empty());
}
