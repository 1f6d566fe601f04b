//! The control socket's words: requests and replies of `resolver.sock`, one JSON value a line.
//!
//! The agent says `load` after it has written a zone, the CLI asks `status` and `query` (`ecsnet dig`); both by
//! [`super::client`].

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The longest line: a DNS message of 64 KiB in hex, and what is around it.
pub(super) const LINE_BYTES: u64 = 160 * 1024;

/// What the resolver is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Request {
    /// `{"load": N}`: read `zone.json`, which must hold generation N or later, and serve it.
    Load(u64),
    /// `{"status": {}}`
    Status {},
    /// `{"query": "<hex>"}`: answer a DNS message in wire form as a client on TCP would be answered.
    Query(String),
}

/// What the resolver replies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reply {
    /// `{"generation": N}`: the generation served after a `load`.
    Generation(u64),
    /// `{"status": {...}}`
    Status(Status),
    /// `{"answer": "<hex>"}`: the DNS message that answers a `query`.
    Answer(String),
    /// `{"error": "..."}`
    Error(String),
}

/// The resolver's state as it is, not as it was asked to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The generation served; none before the first zone.
    pub generation: Option<u64>,
    /// The addresses that are listened on.
    pub listening: Vec<IpAddr>,
    /// What stands in the way of the zone on disk, in words: a file that cannot be served (the last good zone is), or
    /// addresses that cannot be listened on. Retried with the next `load`.
    pub problem: Option<String>,
    /// Counts since the resolver began.
    pub counters: Counters,
}

/// Counts since the resolver began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Questions answered, those over the control socket too.
    pub queries: u64,
    /// Answers that the name does not exist.
    pub nxdomain: u64,
    /// Packets above the limit of their source.
    pub dropped: u64,
    /// Questions sent on to other servers.
    pub forwarded: u64,
}

/// Bytes as lower-case hex digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The reverse of [`to_hex`]; none for an odd count or anything but hex digits.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn requests_and_replies_read_as_documented() {
        let json = |value: &Request| serde_json::to_string(value).unwrap();
        assert_eq!(json(&Request::Load(7)), r#"{"load":7}"#);
        assert_eq!(json(&Request::Status {}), r#"{"status":{}}"#);
        assert_eq!(json(&Request::Query("00".into())), r#"{"query":"00"}"#);
        assert_eq!(serde_json::to_string(&Reply::Generation(7)).unwrap(), r#"{"generation":7}"#);
        assert_eq!(serde_json::to_string(&Reply::Error("no".into())).unwrap(), r#"{"error":"no"}"#);
    }

    proptest! {
        #[test]
        fn hex_goes_there_and_back(bytes: Vec<u8>) {
            prop_assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        }

        #[test]
        fn anything_else_is_not_hex(text in "[0-9a-f]{0,4}[^0-9a-fA-F][0-9a-f]{0,4}") {
            prop_assert_eq!(from_hex(&text), None);
        }
    }
}
