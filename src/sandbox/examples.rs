//! A project that has something in it, for commands that begin with what runs.

use super::live::{Live, Running, Runtime};
use super::target::Target;
use super::world::World;

impl World {
    /// Makes some services of a project: an image of a private registry, a public one with a command of its own, and a
    /// build of another service.
    pub fn make_examples(&self, team: Option<&str>, project: &str) {
        let image = |image: &str, credentials: Option<&str>| Live {
            running: Running::Image { image: image.to_owned(), credentials: credentials.map(str::to_owned) },
            ..Live::default()
        };
        let command =
            Runtime { custom_command: Some("worker --queue mail".to_owned()), ..Runtime::of_type("customCommand") };
        let build = Running::Build {
            service: "docs-build".to_owned(),
            branch: Some("main".to_owned()),
            sha: Some("latest".to_owned()),
            build: None,
        };
        for (service, live) in [
            ("web", image("ghcr.io/acme/web:2.14.0", Some("ghcr"))),
            ("worker", Live { docker: Some(command), ..image("ghcr.io/acme/worker:1.4.1", None) }),
            ("docs", Live { running: build, ..Live::default() }),
        ] {
            let target =
                Target { team: team.map(str::to_owned), project: project.to_owned(), service: service.to_owned() };
            self.set_live(target, live);
        }
    }
}
