//! Watches a VPC for one window after the other: the packets that the filter logs, and what tracked flows carried meanwhile.
//!
//! Needs [`crate::security::group::Ruleset::flow_log`] in force and flow accounting on
//! ([`crate::network::VpcNetwork::ensure_accounting`]); makes neither. Flows are read at the end of each window, which is
//! shorter than the kernel keeps any of them. A flow that began before accounting was on has no counts, and so no record.

use std::collections::HashMap;
use std::collections::btree_map::Entry;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Carried, Refusal, Tuple, Volume, Window};
use crate::kernel::error::KernelError;
use crate::kernel::flows::{self, Flow};
use crate::kernel::netns::Netns;
use crate::kernel::nflog::{Listener, Logged};
use crate::security::ruleset::{INITIATOR_UNTRACKED, LOG_EGRESS, LOG_INGRESS, RESPONDER_UNTRACKED};

/// AWS aggregates over a minute at least; nobody waits so long before a screen.
pub const WINDOW: Duration = Duration::from_secs(5);

/// How often the log is read before the end of the window is looked at again.
const MOST_READS: u32 = 64;
/// How many refused flows a window holds; of more than that only what there is already is counted.
const MOST_REFUSED: usize = 1 << 16;

/// A VPC that is watched.
#[derive(Debug)]
pub struct Watch {
    netns: Netns,
    logged: Listener,
    /// What each flow had carried when it was last read, and in which reading that was.
    known: HashMap<Vec<u8>, ((Volume, Volume), u64)>,
    reading: u64,
}

impl Watch {
    /// Listens from now on.
    ///
    /// # Errors
    /// When another one listens in this VPC already, or the kernel refuses.
    pub fn open(netns: Netns) -> Result<Self, KernelError> {
        let logged = Listener::open(&netns, &[LOG_EGRESS, LOG_INGRESS])?;
        let known = flows::list(&netns)?.into_iter().map(|flow| (flow.name, (flow.carried, 0))).collect();
        Ok(Self { netns, logged, known, reading: 0 })
    }

    /// One window; none when `stop` becomes readable or is closed meanwhile. Blocks.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn next(&mut self, stop: BorrowedFd<'_>) -> Result<Option<Window>, KernelError> {
        let mut window = Window { start: now(), ..Window::default() };
        let deadline = Instant::now() + WINDOW;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let mut waiting =
                [PollFd::new(self.logged.as_fd(), PollFlags::POLLIN), PollFd::new(stop, PollFlags::POLLIN)];
            // A millisecond more rather than a turn for nothing.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            match poll(&mut waiting, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(KernelError::new("wait for refused packets", errno)),
            }
            if waiting[1].any() == Some(true) {
                return Ok(None);
            }
            self.read_logged(&mut window)?;
        }
        self.read_flows(&mut window)?;
        window.end = now();
        Ok(Some(window))
    }

    /// Reads what is there, but not for ever: whoever sends faster than this reads must not hold up a window's end.
    fn read_logged(&self, window: &mut Window) -> Result<(), KernelError> {
        for _ in 0..MOST_READS {
            match self.logged.read()? {
                Logged::Nothing => return Ok(()),
                Logged::Lost => window.lost = true,
                Logged::Packets(packets) => {
                    for (group, packet) in packets {
                        let by = if group == LOG_EGRESS { Refusal::Egress } else { Refusal::Ingress };
                        if let Some((tuple, bytes)) = tuple(&packet) {
                            let is_full = window.refused.len() >= MOST_REFUSED;
                            match window.refused.entry((tuple, by)) {
                                Entry::Vacant(_) if is_full => window.lost = true,
                                entry => {
                                    let volume = entry.or_default();
                                    *volume = volume.plus(Volume { packets: 1, bytes });
                                }
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn read_flows(&mut self, window: &mut Window) -> Result<(), KernelError> {
        self.reading += 1;
        for Flow { name, tuple, mark, carried } in flows::list(&self.netns)? {
            let judged = mark & (INITIATOR_UNTRACKED | RESPONDER_UNTRACKED) != 0;
            let before = self.known.insert(name, (carried, self.reading)).map_or_else(Default::default, |(b, _)| b);
            for (tuple, more) in [(tuple, carried.0.minus(before.0)), (tuple.reversed(), carried.1.minus(before.1))] {
                if more.packets > 0 {
                    let entry: &mut Carried = window.carried.entry(tuple).or_default();
                    entry.volume = entry.volume.plus(more);
                    entry.judged |= judged;
                }
            }
        }
        // One reading may miss a flow while the table changes under it: only who is missed twice has ended.
        let reading = self.reading;
        self.known.retain(|_, (_, seen)| *seen + 1 >= reading);
        Ok(())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The flow of an IPv4 packet, and its length; only its beginning may be there.
fn tuple(packet: &[u8]) -> Option<(Tuple, u64)> {
    let header = packet.first_chunk::<20>()?;
    if header[0] >> 4 != 4 {
        return None;
    }
    let protocol = header[9];
    let behind = packet.get(usize::from(header[0] & 0xf) * 4..).unwrap_or_default();
    // A later fragment has no ports.
    let first = u16::from_be_bytes([header[6], header[7]]) & 0x1fff == 0;
    let (source_port, destination_port) = match behind.first_chunk::<4>() {
        Some([a, b, c, d]) if first && matches!(protocol, 6 | 17) => {
            (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]))
        }
        _ => (0, 0),
    };
    let address = |at: usize| -> Option<[u8; 4]> { header.get(at..)?.first_chunk().copied() };
    let tuple = Tuple {
        source: address(12)?.into(),
        destination: address(16)?.into(),
        source_port,
        destination_port,
        protocol,
    };
    Some((tuple, u16::from_be_bytes([header[2], header[3]]).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_packet_tells_its_flow_and_length() {
        let mut packet = vec![0x45, 0, 0, 30, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 4, 10, 0, 0, 5];
        packet.extend([0x9c, 0x40, 0, 53]);
        let (tuple, bytes) = tuple(&packet).unwrap();
        assert_eq!((tuple.source_port, tuple.destination_port, tuple.protocol, bytes), (40000, 53, 17, 30));
        assert_eq!(tuple.destination, std::net::IpAddr::from([10, 0, 0, 5]));
    }

    proptest! {
        #[test]
        fn no_packet_however_garbled_panics(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            tuple(&bytes);
        }
    }
}
