//! The command line: which role to play, or what to ask.
//!
//! Pure; `main.rs` hands in the arguments and the value of `ROLE`. Parsed by hand: four verbs do not pay for a parser in an
//! image of a few megabytes.

use std::time::Duration;

/// What `shop` prints when it is called with nothing, or with `help`.
pub const HELP: &str = "\
shop: the services of ecsnet's example, and the tools to look at them from inside

  shop web|orders|users|stock     serve that role (or ROLE=… with no argument)
  shop get [--timeout S] URL      one GET: status to stderr, body to stdout; exit 1 on failure (default 10 s)
  shop health [--timeout S] URL   the same without output, for a container health check (default 2 s)
  shop help                       this text

A role listens on LISTEN (0.0.0.0:8080; stock: 127.0.0.1:9000) and asks what ORDERS_URL, STOCK_URL and USERS_URL name:
  web      ORDERS_URL             orders   STOCK_URL, USERS_URL
GET / answers JSON, GET /?text a picture of the path, GET /health 200. Names are looked up for each request:
A records first; where a name has none, SRV records, whose port then counts. A name without a dot is a container of
the same task: by its line in /etc/hosts, which links make in bridge mode, else on localhost.
";

/// One of the shop's services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The front: asks orders.
    Web,
    /// Asks the stock container in its own task, and users.
    Orders,
    /// The end of the chain.
    Users,
    /// The second container of the orders task; listens on localhost only.
    Stock,
}

impl Role {
    /// The role called `name`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "web" => Self::Web,
            "orders" => Self::Orders,
            "users" => Self::Users,
            "stock" => Self::Stock,
            _ => return None,
        })
    }

    /// As it is typed and shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Orders => "orders",
            Self::Users => "users",
            Self::Stock => "stock",
        }
    }

    /// Where it listens when `LISTEN` does not say.
    pub fn default_listen(self) -> &'static str {
        match self {
            Self::Stock => "127.0.0.1:9000",
            _ => "0.0.0.0:8080",
        }
    }

    /// The environment variables that name what it asks, in the order in which it shows the answers.
    pub fn upstream_variables(self) -> &'static [&'static str] {
        match self {
            Self::Web => &["ORDERS_URL"],
            Self::Orders => &["STOCK_URL", "USERS_URL"],
            Self::Users | Self::Stock => &[],
        }
    }

    /// How long it waits for an upstream. Shorter further down, so that whoever is nearest to a failure reports it.
    pub fn upstream_timeout(self) -> Duration {
        match self {
            Self::Web => Duration::from_secs(5),
            _ => Duration::from_secs(3),
        }
    }
}

/// What one call of the binary is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Play a role until SIGTERM.
    Serve(Role),
    /// `get`: one request, shown.
    Get {
        /// What to ask.
        url: String,
        /// For the whole of it, from lookup to the body's end.
        timeout: Duration,
    },
    /// `health`: one request, exit code only.
    Health {
        /// What to ask.
        url: String,
        /// For the whole of it.
        timeout: Duration,
    },
    /// Print [`HELP`].
    Help,
}

/// Why the command line could not be understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArgumentError {
    /// Neither a role nor a verb.
    #[error("`{0}` is neither a role nor a command; see `shop help`")]
    Unknown(String),
    /// `get` or `health` without what to ask.
    #[error("`{0}` needs one URL")]
    NeedsUrl(&'static str),
    /// More than was expected, or an unknown flag.
    #[error("`{0}` is one argument too many")]
    TooMany(String),
    /// `--timeout` without a usable number.
    #[error("`--timeout` takes seconds, more than 0 and at most 3600, not `{0}`")]
    Timeout(String),
}

/// Reads the arguments after the program's name; `role` is the value of `ROLE`, which counts when there are none.
pub fn parse_arguments(arguments: &[String], role: Option<&str>) -> Result<Command, ArgumentError> {
    let Some((verb, rest)) = arguments.split_first() else {
        return match role {
            Some(role) => Role::from_name(role).map(Command::Serve).ok_or_else(|| ArgumentError::Unknown(role.into())),
            None => Ok(Command::Help),
        };
    };
    let command = match verb.as_str() {
        "help" | "--help" | "-h" => Command::Help,
        "get" => {
            let (url, timeout) = parse_request("get", rest, 10)?;
            return Ok(Command::Get { url, timeout });
        }
        "health" => {
            let (url, timeout) = parse_request("health", rest, 2)?;
            return Ok(Command::Health { url, timeout });
        }
        name => Command::Serve(Role::from_name(name).ok_or_else(|| ArgumentError::Unknown(name.into()))?),
    };
    match rest.first() {
        Some(extra) => Err(ArgumentError::TooMany(extra.clone())),
        None => Ok(command),
    }
}

fn parse_request(
    verb: &'static str,
    rest: &[String],
    default_seconds: u64,
) -> Result<(String, Duration), ArgumentError> {
    let mut timeout = Duration::from_secs(default_seconds);
    let mut url = None;
    let mut rest = rest.iter();
    while let Some(argument) = rest.next() {
        if argument == "--timeout" {
            let text = rest.next().map(String::as_str).unwrap_or_default();
            timeout = parse_seconds(text).ok_or_else(|| ArgumentError::Timeout(text.into()))?;
        } else if argument.starts_with('-') || url.is_some() {
            return Err(ArgumentError::TooMany(argument.clone()));
        } else {
            url = Some(argument.clone());
        }
    }
    Ok((url.ok_or(ArgumentError::NeedsUrl(verb))?, timeout))
}

fn parse_seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    (seconds > 0.0 && seconds <= 3600.0).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, role: Option<&str>) -> Result<Command, ArgumentError> {
        let arguments: Vec<String> = line.split_whitespace().map(String::from).collect();
        parse_arguments(&arguments, role)
    }

    #[test]
    fn a_role_is_named_by_argument_or_by_environment() {
        assert_eq!(parse("orders", Some("web")), Ok(Command::Serve(Role::Orders)));
        assert_eq!(parse("", Some("stock")), Ok(Command::Serve(Role::Stock)));
        assert_eq!(parse("", Some("")), Err(ArgumentError::Unknown(String::new())));
        assert_eq!(parse("", None), Ok(Command::Help));
    }

    #[test]
    fn get_and_health_differ_in_patience_only() {
        let url = String::from("http://users:8080/");
        let timeout = Duration::from_secs(10);
        assert_eq!(parse("get http://users:8080/", None), Ok(Command::Get { url: url.clone(), timeout }));
        let timeout = Duration::from_millis(500);
        assert_eq!(parse("health http://users:8080/ --timeout 0.5", None), Ok(Command::Health { url, timeout }));
    }

    #[rstest::rstest]
    #[case("shopping", "`shopping` is neither a role nor a command; see `shop help`")]
    #[case("get", "`get` needs one URL")]
    #[case("get http://a http://b", "`http://b` is one argument too many")]
    #[case("get --fast http://a", "`--fast` is one argument too many")]
    #[case("web now", "`now` is one argument too many")]
    #[case("get http://a --timeout", "`--timeout` takes seconds, more than 0 and at most 3600, not ``")]
    #[case("get http://a --timeout NaN", "`--timeout` takes seconds, more than 0 and at most 3600, not `NaN`")]
    #[case("get http://a --timeout -1", "`--timeout` takes seconds, more than 0 and at most 3600, not `-1`")]
    fn what_cannot_be_understood_is_named(#[case] line: &str, #[case] message: &str) {
        assert_eq!(parse(line, None).unwrap_err().to_string(), message);
    }
}
