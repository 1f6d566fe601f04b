//! The packets that the filter of a namespace logs (`log group N`), copied to a socket of ours.
//!
//! The kernel copies only while a socket is bound to the group, and drops the copy, never the packet, when it is not read
//! fast enough.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_NETFILTER};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::conntrack::{attribute, messages};
use super::error::KernelError;
use super::netns::Netns;

// linux/netfilter/nfnetlink_log.h
const PACKET: u16 = 4 << 8;
const CONFIG: u16 = 4 << 8 | 1;
const NFULA_CFG_CMD: u16 = 1;
const BIND: u8 = 1;
const NFULA_PACKET: u16 = 9;
const GENERIC: usize = 4;
/// Room for some ten thousand copies.
const RECEIVE_BYTES: usize = 4 << 20;
const DATAGRAM_BYTES: usize = 64 << 10;

/// What a read came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Logged {
    /// Log group and the beginning of each packet, from the IP header on.
    Packets(Vec<(u16, Vec<u8>)>),
    /// Nothing more for now.
    Nothing,
    /// Copies were dropped: the socket was full.
    Lost,
}

/// A socket that is bound to log groups of a namespace. It keeps the namespace alive.
pub struct Listener {
    socket: Socket,
}

impl Listener {
    /// Binds a socket to the groups; a group has one listener at a time.
    ///
    /// # Errors
    /// When another one is bound, or the kernel refuses.
    pub fn open(netns: &Netns, groups: &[u16]) -> Result<Self, KernelError> {
        netns.run(|| {
            let open = || {
                let mut socket = Socket::new(NETLINK_NETFILTER)?;
                socket.bind_auto()?;
                socket.connect(&SocketAddr::new(0, 0))?;
                Ok(socket)
            };
            let socket = open().map_err(|source| KernelError::io("open a socket for logged packets".into(), source))?;
            // Beyond the system's limit, for which root needs no leave; with less, less is heard.
            let _ = setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &RECEIVE_BYTES);
            for group in groups {
                bind(&socket, *group)?;
            }
            Ok(Self { socket })
        })?
    }

    /// What is there, without waiting.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn read(&self) -> Result<Logged, KernelError> {
        let mut buffer = Vec::with_capacity(DATAGRAM_BYTES);
        match self.socket.recv(&mut buffer, libc::MSG_DONTWAIT) {
            Ok(_) => Ok(Logged::Packets(packets(&buffer))),
            Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                Some(Errno::EAGAIN | Errno::EINTR) => Ok(Logged::Nothing),
                Some(Errno::ENOBUFS) => Ok(Logged::Lost),
                _ => Err(KernelError::io("read logged packets".into(), error)),
            },
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("fd", &self.socket.as_raw_fd()).finish()
    }
}

fn bind(socket: &Socket, group: u16) -> Result<(), KernelError> {
    let what = || format!("listen to log group {group}");
    let failed = |source| KernelError::io(what(), source);
    let mut command = Vec::new();
    attribute(&mut command, NFULA_CFG_CMD, &[BIND]);
    let mut message = Vec::new();
    message.extend(((16 + GENERIC + command.len()) as u32).to_ne_bytes());
    message.extend(CONFIG.to_ne_bytes());
    message.extend(((libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16).to_ne_bytes());
    message.extend(u32::from(group).to_ne_bytes());
    message.extend([0; 4]);
    message.extend([libc::AF_UNSPEC as u8, 0]);
    message.extend(group.to_be_bytes());
    message.extend(command);
    socket.send(&message, 0).map_err(failed)?;
    loop {
        let (datagram, _) = socket.recv_from_full().map_err(failed)?;
        // Packets of a group that is bound already may come before the answer; who listens anew misses nothing by them.
        for answer in messages(&datagram).filter(|m| i32::from(m.kind) == libc::NLMSG_ERROR) {
            if answer.sequence == u32::from(group) {
                return match answer.body.first_chunk().map(|code| i32::from_ne_bytes(*code)) {
                    Some(0) => Ok(()),
                    code => Err(KernelError::new(what(), Errno::from_raw(-code.unwrap_or(-libc::EBADMSG)))),
                };
            }
        }
    }
}

fn packets(datagram: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let logged = messages(datagram).filter(|message| message.kind == PACKET);
    let packets = logged.filter_map(|message| {
        let [_, _, high, low] = *message.body.first_chunk::<GENERIC>()?;
        let payload = super::conntrack::attributes(message.body.get(GENERIC..)?)
            .find(|(kind, _)| *kind == NFULA_PACKET)
            .map(|(_, payload)| payload.to_vec())?;
        Some((u16::from_be_bytes([high, low]), payload))
    });
    packets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_datagram_however_garbled_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            packets(&bytes);
        }
    }
}
