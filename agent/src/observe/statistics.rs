//! The statistics of containers that a task asks for (reference 9.3), and of those alone.
//!
//! Docker measures each container once a second for whoever reads its stream; a container is read while it is asked for
//! and for two minutes more, so that who polls finds a fresh sample with the one before in it. What the network of a task
//! carries Docker does not know, since it did not make it: the kernel's own counters stand in place of Docker's.
//! Nothing is kept beyond the last sample.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tracing::debug;

use crate::runtime::statistics::{StatisticsStream, has_previous, is_of_running};
use crate::runtime::{Docker, RuntimeError};

/// How long a container is read on after it was last asked for.
const IDLE: Duration = Duration::from_secs(120);
/// How long the first who asks waits for a sample that has one before it: Docker takes two seconds.
const SECOND_SAMPLE: Duration = Duration::from_secs(4);

/// What is being read.
#[derive(Debug, Default)]
pub struct Statistics {
    // A std mutex: held for one look-up, never over an await.
    read: Mutex<HashMap<Asked, Reading>>,
}

/// A container, and whose network it has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Asked {
    container: String,
    network_holder: Option<String>,
}

/// A container that is read; the reader ends by itself.
#[derive(Debug, Clone)]
struct Reading {
    latest: watch::Receiver<Option<Sample>>,
    asked: Arc<Mutex<Instant>>,
}

/// A sample, as it is answered.
#[derive(Debug, Clone, PartialEq)]
struct Sample {
    statistics: Value,
    read: Option<Timestamp>,
    /// Bytes in and out, of all interfaces.
    carried: Option<(u64, u64)>,
}

impl Statistics {
    /// Docker's statistics of a container, with the network of `network_holder` in it, by Docker's ids; none when it does
    /// not run. The first who asks waits up to two seconds.
    ///
    /// # Errors
    /// When Docker does not answer. A container that is gone does not run.
    pub async fn of(
        &self,
        docker: &Docker,
        container: &str,
        network_holder: Option<&str>,
    ) -> Result<Option<Value>, RuntimeError> {
        let network_holder = network_holder.map(str::to_owned);
        let asked = Asked { container: container.to_owned(), network_holder };
        let mut reading = match self.reading(&asked) {
            Some(reading) => reading,
            None => match docker.sample(container).await {
                Ok(sample) if is_of_running(&sample) => {
                    let stream = docker.samples(container).await?;
                    let pid = match &asked.network_holder {
                        None => None,
                        Some(holder) => docker.inspect(holder).await?.and_then(|holder| holder.state.pid()),
                    };
                    self.begin(asked, stream, pid)
                }
                Ok(_) => return Ok(None),
                Err(error) if error.is_absent() => return Ok(None),
                Err(error) => return Err(error),
            },
        };
        let complete = |sample: &Option<Sample>| sample.as_ref().is_some_and(|s| has_previous(&s.statistics));
        // Late or at its end: what there is.
        drop(tokio::time::timeout(SECOND_SAMPLE, reading.latest.wait_for(complete)).await);
        let latest = reading.latest.borrow();
        Ok(latest.as_ref().map(|sample| sample.statistics.clone()))
    }

    /// Notes that somebody asks; none when it is not being read.
    fn reading(&self, asked: &Asked) -> Option<Reading> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.retain(|_, reading| is_read(reading));
        let reading = read.get(asked).cloned()?;
        *reading.asked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        Some(reading)
    }

    fn begin(&self, asked: Asked, stream: StatisticsStream, pid: Option<i32>) -> Reading {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have begun meanwhile.
        if let Some(reading) = read.get(&asked).filter(|reading| is_read(reading)) {
            return reading.clone();
        }
        let (sender, latest) = watch::channel(None);
        let reading = Reading { latest, asked: Arc::new(Mutex::new(Instant::now())) };
        tokio::spawn(follow(stream, pid, sender, reading.asked.clone()));
        read.insert(asked, reading.clone());
        reading
    }
}

/// Whether its reader lives.
fn is_read(reading: &Reading) -> bool {
    reading.latest.has_changed().is_ok()
}

/// Reads samples until the container ends or nobody asks any more.
async fn follow(
    mut stream: StatisticsStream,
    pid: Option<i32>,
    sender: watch::Sender<Option<Sample>>,
    asked: Arc<Mutex<Instant>>,
) {
    let mut previous: Option<Sample> = None;
    while let Some(sample) = stream.next().await {
        let statistics = match sample {
            Ok(statistics) => statistics,
            Err(error) => {
                debug!(%error, "statistics end");
                break;
            }
        };
        if !is_of_running(&statistics) {
            break;
        }
        let networks = match pid {
            None => None,
            Some(pid) => tokio::fs::read_to_string(format!("/proc/{pid}/net/dev")).await.ok().map(|t| interfaces(&t)),
        };
        let sample = enrich(statistics, networks, previous.as_ref());
        sender.send_replace(Some(sample.clone()));
        previous = Some(sample);
        if asked.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > IDLE {
            return;
        }
    }
    // It does not run: whoever still waits is told so.
    sender.send_replace(None);
}

/// Puts the network's counters in, and how fast they grew since the sample before.
fn enrich(mut statistics: Value, networks: Option<Map<String, Value>>, previous: Option<&Sample>) -> Sample {
    let read: Option<Timestamp> = statistics["read"].as_str().and_then(|time| time.parse().ok());
    if let (Some(networks), Value::Object(fields)) = (networks, &mut statistics) {
        fields.insert("networks".to_owned(), Value::Object(networks));
    }
    let carried = statistics["networks"].as_object().map(|networks| {
        let sum = |counter: &str| networks.values().filter_map(|n| n[counter].as_u64()).fold(0, u64::saturating_add);
        (sum("rx_bytes"), sum("tx_bytes"))
    });
    let rates = previous.and_then(|previous| {
        let (before, now) = (previous.carried?, carried?);
        let seconds = read?.duration_since(previous.read?).as_secs_f64();
        #[allow(clippy::cast_precision_loss)]
        let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        (seconds > 0.0)
            .then(|| json!({ "rx_bytes_per_sec": rate(before.0, now.0), "tx_bytes_per_sec": rate(before.1, now.1) }))
    });
    if let (Some(rates), Value::Object(fields)) = (rates, &mut statistics) {
        fields.insert("network_rate_stats".to_owned(), rates);
    }
    Sample { statistics, read, carried }
}

/// The counters in a `/proc/PID/net/dev`, by interface, under Docker's names; without the loopback.
fn interfaces(text: &str) -> Map<String, Value> {
    let interface = |line: &str| {
        let (name, counters) = line.split_once(':')?;
        let counters: Vec<u64> = counters.split_whitespace().map_while(|counter| counter.parse().ok()).collect();
        let [rx_bytes, rx_packets, rx_errors, rx_dropped, _, _, _, _, tx_bytes, tx_packets, tx_errors, tx_dropped, ..] =
            counters[..]
        else {
            return None;
        };
        let counters = json!({
            "rx_bytes": rx_bytes, "rx_packets": rx_packets, "rx_errors": rx_errors, "rx_dropped": rx_dropped,
            "tx_bytes": tx_bytes, "tx_packets": tx_packets, "tx_errors": tx_errors, "tx_dropped": tx_dropped,
        });
        Some((name.trim().to_owned(), counters)).filter(|(name, _)| name != "lo")
    };
    text.lines().filter_map(interface).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    3000      20    1    2    0     0          0         0     1000      10    3    4    0     0       0          0
";

    #[test]
    fn the_kernel_s_counters_have_docker_s_names() {
        let counters = json!({"rx_bytes": 3000, "rx_packets": 20, "rx_errors": 1, "rx_dropped": 2,
            "tx_bytes": 1000, "tx_packets": 10, "tx_errors": 3, "tx_dropped": 4});
        assert_eq!(Value::Object(interfaces(DEV)), json!({ "eth0": counters }));
        assert!(interfaces("nonsense\n x: 1 2").is_empty());
    }

    #[test]
    fn there_is_a_rate_once_there_are_two_samples_and_all_else_is_docker_s() {
        let at = |read: &str| json!({"read": read, "preread": read, "blkio_stats": null, "cpu_stats": {"x": 1}});
        let networks = |rx: u64, tx: u64| json!({"eth0": {"rx_bytes": rx, "tx_bytes": tx}}).as_object().cloned();
        let first = enrich(at("2026-08-01T12:00:00Z"), networks(1000, 100), None);
        assert_eq!(first.statistics.get("network_rate_stats"), None);
        let second = enrich(at("2026-08-01T12:00:02Z"), networks(4000, 100), Some(&first));
        let mut expected = at("2026-08-01T12:00:02Z");
        expected["networks"] = json!({"eth0": {"rx_bytes": 4000, "tx_bytes": 100}});
        expected["network_rate_stats"] = json!({"rx_bytes_per_sec": 1500.0, "tx_bytes_per_sec": 0.0});
        assert_eq!(second.statistics, expected);
        // Without a network of its own there is none.
        let alone = enrich(at("2026-08-01T12:00:02Z"), None, Some(&first));
        assert_eq!(alone.statistics, at("2026-08-01T12:00:02Z"));
    }
}
