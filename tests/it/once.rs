use crate::support::{Api, Workspace};

#[test]
fn a_new_service_is_updated_and_then_unchanged() {
    let (api, workspace) = (Api::new(), Workspace::new());
    workspace.service("web", "1");
    let first = workspace.once(&api, &[]).exits(0);
    assert_eq!(first.outcomes(), [("shop/web".to_owned(), "updated".to_owned())]);
    let second = workspace.once(&api, &[]).exits(0);
    assert_eq!(second.outcomes(), [("shop/web".to_owned(), "unchanged".to_owned())]);
    assert_eq!(api.world().calls().len(), 1);
}
