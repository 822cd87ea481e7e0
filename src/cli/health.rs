//! `truenorth health`: asks the daemon on this machine whether its loop lives, for the health check of a container that has
//! no shell and no curl. It needs no token, no ledger and no folder.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::args::{Listen, listen};
use super::exit::Exit;
use super::{misconfigured, origin, refused};

/// How long the daemon may take; one that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(5);
/// More than the answer has.
const MAX_ANSWER: u64 = 4096;

#[derive(Args, Debug)]
pub(super) struct HealthArgs {
    /// Address that the daemon listens on: the same as its --listen
    #[arg(long, value_name = "ADDR", env = "TRUENORTH_LISTEN", default_value = "127.0.0.1:9095", value_parser = listen)]
    listen: Listen,
}

pub(super) fn run(args: &HealthArgs) -> anyhow::Result<Exit> {
    let address = match args.listen {
        Listen::Off => {
            let message = format!("the daemon does not listen: {} is off", origin::named(LISTEN));
            return Err(misconfigured(message, Some(WAY_OUT)));
        }
        Listen::At(address) if address.port() == 0 => {
            let message =
                format!("the daemon listens on a port that nobody knows: {} has port 0", origin::named(LISTEN));
            return Err(misconfigured(message, Some(WAY_OUT)));
        }
        Listen::At(address) => reachable(address),
    };
    super::on_runtime(async move {
        let answer = timeout(PATIENCE, ask(address, "/healthz", MAX_ANSWER)).await;
        let answer = answer.unwrap_or_else(|_| Err(io::Error::other(format!("no answer within {PATIENCE:?}"))));
        match answer {
            Ok(answer) => verdict(address, &answer),
            Err(error) => Err(unwell(address, &error.to_string())),
        }
    })
}

const LISTEN: &str = "listen";
const WAY_OUT: &str = "name the address of the daemon with --listen, such as --listen 127.0.0.1:9095";

/// Where a listener on every address is reached from its own machine.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The answer to a `GET`, head and all, as far as anybody reads it. HTTP/1.0, so that it ends where the connection ends.
pub(super) async fn ask(address: SocketAddr, path: &str, most: u64) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(most).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What an answer means. Only 200 is good.
fn verdict(address: SocketAddr, answer: &str) -> anyhow::Result<Exit> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5));
    match status {
        Some("200") => Ok(Exit::Converged),
        Some(status) => Err(unwell(address, &format!("{status}: {}", body.lines().next().unwrap_or_default()))),
        None => Err(unwell(address, "its answer is not HTTP")),
    }
}

fn unwell(address: SocketAddr, why: &str) -> anyhow::Error {
    let message = format!("the daemon at {address}{} is not healthy: {why}", origin::behind(LISTEN));
    let hint = "look at its log; --listen has to be the same for both";
    refused(message, hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9095);

    #[test]
    fn only_200_is_healthy() {
        for good in ["HTTP/1.0 200 OK\r\n\r\nok\n", "HTTP/1.1 200 OK\r\nx: y\r\n\r\nok\n"] {
            assert_eq!(verdict(HERE, good).ok(), Some(Exit::Converged), "{good:?}");
        }
        for bad in [
            "",
            "200",
            "HTTP/1.",
            "HTTP/1.1 2",
            "HTTP/1.1 503 Service Unavailable\r\n\r\nthe loop hangs",
            "HTTP/1.1 é00",
            "SSH-2.0-OpenSSH_9.2p1\r\n",
            "x\r\n\r\nHTTP/1.1 200 OK",
        ] {
            assert!(verdict(HERE, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        for (listen, asked) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:2", "[::1]:2"), ("10.1.2.3:4", "10.1.2.3:4"), ("[::1]:5", "[::1]:5")]
        {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
