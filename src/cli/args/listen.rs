//! Where a listener is, and by which names it may be called.

use std::net::SocketAddr;

use clap::Args;

use crate::host::Hosts;

/// Where the status server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Listen {
    Off,
    At(SocketAddr),
}

/// Reads an address with its port, or `off`.
pub(in crate::cli) fn listen(text: &str) -> Result<Listen, String> {
    match text {
        "off" => Ok(Listen::Off),
        text => text
            .parse()
            .map(Listen::At)
            .map_err(|_| "expected an IP address with a port, such as 127.0.0.1:9095, or off".to_owned()),
    }
}

#[derive(Args, Debug)]
pub(in crate::cli) struct HostArgs {
    /// Name by which the listener may be called, beside IP addresses and localhost; may be given several times
    ///
    /// Requests with another Host are refused, so that no web page can read the answers through a name of its own. * allows
    /// every name.
    #[arg(long, value_name = "NAME", env = "TRUENORTH_ALLOW_HOST", value_delimiter = ',', value_parser = host_name)]
    allow_host: Vec<String>,
}

impl HostArgs {
    pub(in crate::cli) fn hosts(&self) -> Hosts {
        Hosts::allowing(&self.allow_host)
    }
}

/// Reads a host's name, without its port; an empty variable is none.
fn host_name(text: &str) -> Result<String, String> {
    let is_name = text == "*" || text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    is_name
        .then(|| text.to_owned())
        .ok_or_else(|| "expected a name such as truenorth.example.com, without a port".into())
}
