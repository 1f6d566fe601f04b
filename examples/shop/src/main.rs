//! The binary `shop`: reads arguments and environment, then serves or asks. See the library for what it is for.
//!
//! It runs as process 1 of its container, where the kernel delivers SIGTERM only to a process that asked for it.

use std::env;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use shop::arguments::{Command, HELP, Role, parse_arguments};
use shop::client::{self, Patience};
use shop::server::{Service, serve};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Long enough to tell a refused connection from a slow one, short enough to wait for.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args_os().skip(1).map(|text| text.to_string_lossy().into_owned()).collect();
    match parse_arguments(&arguments, env::var("ROLE").ok().as_deref()) {
        Ok(Command::Serve(role)) => run_role(role).await,
        Ok(Command::Get { url, timeout }) => show(&url, timeout).await,
        Ok(Command::Health { url, timeout }) => check(&url, timeout).await,
        Ok(Command::Help) => {
            print(HELP.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => fail(error, 2),
    }
}

async fn run_role(role: Role) -> ExitCode {
    let mut upstreams = Vec::new();
    for variable in role.upstream_variables() {
        match env::var(variable) {
            Ok(url) if !url.is_empty() => upstreams.push(url),
            _ => return fail(format!("the role `{}` needs {variable}, the URL to ask", role.name()), 2),
        }
    }
    // Before listening: whoever gets an answer may rely on SIGTERM being heard.
    let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => return fail(format!("cannot listen for signals: {error}"), 1),
    };
    let address = env::var("LISTEN").unwrap_or_else(|_| role.default_listen().into());
    let listener = match TcpListener::bind(&address).await {
        Ok(listener) => listener,
        Err(error) => return fail(format!("cannot listen on {address}: {error}"), 1),
    };
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_string();
    tokio::select! {
        never = serve(listener, Service { role, hostname, upstreams }) => match never {},
        _ = terminate.recv() => ExitCode::SUCCESS,
        _ = interrupt.recv() => ExitCode::SUCCESS,
    }
}

async fn show(url: &str, timeout: Duration) -> ExitCode {
    match client::get(url, Patience { connect: CONNECT_TIMEOUT, whole: timeout }).await {
        Ok(answer) => {
            let _: io::Result<()> = writeln!(io::stderr(), "{} from {}", answer.status, answer.peer);
            print(&answer.body);
            if answer.status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => fail(error.to_failure(url).message, 1),
    }
}

async fn check(url: &str, timeout: Duration) -> ExitCode {
    match client::get(url, Patience { connect: timeout, whole: timeout }).await {
        Ok(answer) if answer.status.is_success() => ExitCode::SUCCESS,
        Ok(answer) => fail(format!("{url}: {}", answer.status), 1),
        Err(error) => fail(error.to_failure(url).message, 1),
    }
}

/// A reader that has gone (`| head`) is no failure of ours.
fn print(bytes: &[u8]) {
    let _: io::Result<()> = io::stdout().write_all(bytes).and_then(|()| io::stdout().flush());
}

fn fail(error: impl Display, code: u8) -> ExitCode {
    let _: io::Result<()> = writeln!(io::stderr(), "shop: {error}");
    ExitCode::from(code)
}
