//! How many open files a container may be given: what the kernel lets Docker set.
//!
//! Without the capability SYS_RESOURCE nobody raises a hard limit, so the engine's own is the most. The engine is the
//! process behind Docker's socket. Asked once, when the agent starts.

use std::fs;

use tokio::net::UnixStream;

use super::connect::Docker;

/// Bit of `CapEff` (`capability.h`).
const SYS_RESOURCE: u32 = 24;

impl Docker {
    /// The most; `None` where nothing bounds it below the kernel's own `nr_open`, or the engine is on another machine.
    pub async fn most_open_files(&self) -> Option<i64> {
        let socket = UnixStream::connect(self.address().strip_prefix("unix://")?).await.ok()?;
        let engine = socket.peer_cred().ok()?.pid()?;
        let read = |name: &str| fs::read_to_string(format!("/proc/{engine}/{name}")).unwrap_or_default();
        bound(&read("limits"), &read("status"))
    }
}

fn bound(limits: &str, status: &str) -> Option<i64> {
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let capabilities = u64::from_str_radix(capabilities.trim(), 16).ok()?;
    if capabilities >> SYS_RESOURCE & 1 == 1 {
        return None;
    }
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("000001ffffffffff", "20000                20000                files", None)]
    #[case("000001fffeffffff", "1024                 20000                files", Some(20_000))]
    #[case("000001fffeffffff", "1024                 unlimited            files", None)]
    fn a_hard_limit_binds_who_may_not_raise_it(#[case] caps: &str, #[case] files: &str, #[case] most: Option<i64>) {
        assert_eq!(bound(&format!("Max open files            {files}\n"), &format!("CapEff:\t{caps}\n")), most);
    }
}
