//! What a service answers: itself as the request saw it, and the hops behind it. Pure.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// One service that the request reached, with everything that it reached in turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// `web`, `orders`, `users` or `stock`.
    pub service: String,
    /// The task's own address, read from a socket of this very request.
    pub address: IpAddr,
    /// The host name inside the task.
    pub hostname: String,
    /// The other end of the connection that brought the request.
    pub from: SocketAddr,
    /// What was asked from here, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hops: Vec<Hop>,
    /// What was asked from here and gave no answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
}

/// A request that got no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The URL that was asked.
    pub url: String,
    /// The address that was tried, when the name led to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// In a word or two, the same for the same cause: `refused`, `timeout`, `no such name` …
    pub reason: String,
    /// The whole sentence.
    pub message: String,
}

impl Hop {
    /// Whether everything down the path answered.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty() && self.hops.iter().all(Hop::is_complete)
    }

    /// The path as a person reads it: a line for each hop, deeper ones further in.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text, 0);
        text
    }

    fn write_text(&self, text: &mut String, depth: usize) {
        let name = format!("{:indent$}{}", "", self.service, indent = depth * 2);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<12} {:<15} {}  (from {})", self.address, self.hostname, self.from);
        for hop in &self.hops {
            hop.write_text(text, depth + 1);
        }
        for failure in &self.failures {
            let _ = writeln!(text, "{:indent$}! {}", "", failure.message, indent = depth * 2 + 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(service: &str, address: &str, from: &str) -> Hop {
        Hop {
            service: service.into(),
            address: address.parse().unwrap(),
            hostname: format!("ip-{}", address.replace('.', "-")),
            from: from.parse().unwrap(),
            hops: Vec::new(),
            failures: Vec::new(),
        }
    }

    fn path() -> Hop {
        let mut orders = hop("orders", "10.0.1.6", "10.0.0.5:40000");
        orders.hops.push(hop("stock", "127.0.0.1", "127.0.0.1:40001"));
        orders.failures.push(Failure {
            url: "http://users.shop.local:8080/".into(),
            address: Some("10.0.0.7:8080".parse().unwrap()),
            reason: "timeout".into(),
            message: "http://users.shop.local:8080/: no connection to 10.0.0.7:8080 within 1 s".into(),
        });
        let mut web = hop("web", "10.0.0.5", "127.0.0.1:39999");
        web.hops.push(orders);
        web
    }

    #[test]
    fn the_text_shows_the_path_as_a_tree() {
        assert_eq!(
            path().to_text(),
            "web          10.0.0.5        ip-10-0-0-5  (from 127.0.0.1:39999)\n\
             \x20 orders     10.0.1.6        ip-10-0-1-6  (from 10.0.0.5:40000)\n\
             \x20   stock    127.0.0.1       ip-127-0-0-1  (from 127.0.0.1:40001)\n\
             \x20   ! http://users.shop.local:8080/: no connection to 10.0.0.7:8080 within 1 s\n"
        );
    }

    #[test]
    fn a_failure_at_any_depth_makes_the_path_incomplete() {
        assert!(!path().is_complete());
        assert!(hop("web", "10.0.0.5", "127.0.0.1:1").is_complete());
    }

    #[test]
    fn json_leaves_out_what_is_empty_and_reads_back() {
        let users = hop("users", "10.0.0.7", "10.0.1.6:1");
        assert_eq!(
            serde_json::to_string(&users).unwrap(),
            r#"{"service":"users","address":"10.0.0.7","hostname":"ip-10-0-0-7","from":"10.0.1.6:1"}"#
        );
        let text = serde_json::to_string(&path()).unwrap();
        assert_eq!(serde_json::from_str::<Hop>(&text).unwrap(), path());
    }
}
