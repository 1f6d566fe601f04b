//! The only part of this folder that talks to the kernel: one socket for each VPC namespace, one table in it.
//!
//! Calls block for microseconds: the kernel answers a batch within `send`. Nothing is remembered but the last table, which
//! is read anew from the kernel after every failure.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

use super::attribute::{attribute, text};
use super::encode::{self, number};
use super::object::{Datum, LinkName, TABLE, Table};
use super::transaction::{Change, Transaction};
use super::{decode, diff};
use crate::kernel::error::KernelError;
use crate::kernel::netns::Netns;
use crate::security::group::Ruleset;
use crate::security::{change, ruleset};

/// Bytes of a receive buffer; the kernel never makes a message of a dump bigger than 32 KiB.
const RECEIVE_BYTES: usize = 64 << 10;
/// How often a dump that a change ran into is begun again.
const DUMP_TRIES: u32 = 16;
const HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

/// A change or a look at the filter that failed.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The namespace or the socket.
    #[error("cannot open nftables in the VPC's namespace")]
    Open(#[source] KernelError),
    /// The kernel refused one line; nothing of the transaction is in force.
    #[error("nftables refused `{line}`: {errno}{}", .hint.as_ref().map(|h| format!(" ({h})")).unwrap_or_default())]
    Refused {
        /// The line of nft text.
        line: String,
        /// What the kernel answered.
        errno: Errno,
        /// The kernel's own words, where it gave any.
        hint: Option<String>,
    },
    /// The kernel took every line, but not the whole; nothing is in force.
    #[error("nftables refused to commit {lines} changes: {errno}")]
    Commit {
        /// How many lines there were.
        lines: usize,
        /// What the kernel answered.
        errno: Errno,
    },
    /// Reading the table back failed.
    #[error("cannot read the nftables {what}")]
    Dump {
        /// Tables, chains, rules, sets or elements.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Sending or receiving failed.
    #[error("cannot {what}")]
    Socket {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// Packets and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, with IP headers.
    pub bytes: u64,
}

/// What was dropped at one ENI since it got its filter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Sent with another's source address.
    pub source: Count,
    /// Sent, and allowed by no egress rule.
    pub egress: Count,
    /// Sent to it, and allowed by no ingress rule.
    pub ingress: Count,
}

/// The packet filter of one VPC's namespace.
///
/// Dropping it leaves the filter in force: packets do not depend on the agent.
pub struct Filter {
    socket: Socket,
    sequence: u32,
    have: Table,
    /// The ruleset that `have` is the table of; nothing when the kernel has been read since and holds something else.
    known: Option<Ruleset>,
}

impl Filter {
    /// Opens the namespace's nftables and reads the table that is there, if one is.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or nftables cannot be read (no privileges, not in the kernel).
    pub fn open(netns: &Netns) -> Result<Self, NftError> {
        let socket = netns.run(open_socket).map_err(NftError::Open)?.map_err(NftError::Open)?;
        let mut filter = Self { socket, sequence: 1, have: Table::default(), known: None };
        filter.observe()?;
        Ok(filter)
    }

    /// Brings the kernel's table to `ruleset` in one step, and says what had to change; empty when nothing had.
    ///
    /// With an empty ruleset this closes the namespace: do it before the router forwards its first packet. What others
    /// change in the kernel is noticed, and then repaired, after [`Filter::observe`].
    ///
    /// # Errors
    /// When the kernel refuses; then what was in force before still is.
    pub fn ensure(&mut self, ruleset: &Ruleset) -> Result<Transaction, NftError> {
        let changes = self.known.as_ref().and_then(|known| change::eni_changes(known, ruleset));
        let Some(changes) = changes else {
            let want = ruleset::table(ruleset);
            let transaction = diff(&self.have, &want);
            self.apply(&transaction)?;
            self.have = want;
            self.known = Some(ruleset.clone());
            return Ok(transaction);
        };
        let transaction = change::transaction(&self.have, ruleset, &changes);
        let changes: Vec<_> =
            changes.into_iter().filter_map(|(old, new)| Some((old.or(new)?.id.clone(), new.cloned()))).collect();
        self.apply(&transaction)?;
        transaction.apply_to(&mut self.have);
        if let Some(known) = &mut self.known {
            for (id, eni) in changes {
                match eni {
                    Some(eni) => drop(known.enis.insert(id, eni)),
                    None => drop(known.enis.remove(&id)),
                }
            }
        }
        Ok(transaction)
    }

    /// Reads the table from the kernel; the next [`Filter::ensure`] starts from it.
    ///
    /// # Errors
    /// When the kernel cannot be read.
    pub fn observe(&mut self) -> Result<Table, NftError> {
        self.read_anew()?;
        Ok(self.have.clone())
    }

    /// What was dropped, by the link of the ENI ([`crate::vpc::eni::Eni::link_name`]).
    ///
    /// # Errors
    /// When the kernel cannot be read.
    pub fn counters(&mut self) -> Result<BTreeMap<LinkName, Dropped>, NftError> {
        let mut dropped: BTreeMap<LinkName, Dropped> = BTreeMap::new();
        for (set, field) in [
            (ruleset::REFUSED_SOURCE, (|d| &mut d.source) as fn(&mut Dropped) -> &mut Count),
            (ruleset::REFUSED_EGRESS, |d| &mut d.egress),
            (ruleset::REFUSED_INGRESS, |d| &mut d.ingress),
        ] {
            let Some(shape) = self.have.sets.get(set).map(|s| s.shape) else { continue };
            for body in self.dump(number::GET_ELEMENTS, Some(set), "counters")? {
                for element in decode::elements(&body, shape) {
                    if let (Datum::Interface(link), Some((packets, bytes))) = (element.key.0, element.count) {
                        *field(dropped.entry(link).or_default()) = Count { packets, bytes };
                    }
                }
            }
        }
        Ok(dropped)
    }

    /// Takes the table away: the namespace is open then. For the end of the VPC only; absent is fine.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&mut self) -> Result<(), NftError> {
        if self.read()? != Table::default() {
            self.apply(&Transaction { changes: vec![Change::DeleteTable] })?;
        }
        self.have = Table::default();
        self.known = None;
        Ok(())
    }

    fn read_anew(&mut self) -> Result<(), NftError> {
        let have = self.read()?;
        if have != self.have {
            self.have = have;
            self.known = None;
        }
        Ok(())
    }

    fn apply(&mut self, transaction: &Transaction) -> Result<(), NftError> {
        if transaction.is_empty() {
            return Ok(());
        }
        let result = self.send_batch(transaction);
        match &result {
            Ok(()) => tracing::debug!(changes = transaction.changes.len(), "nftables:\n{transaction}"),
            Err(error) => {
                tracing::debug!(%error, "nftables transaction refused:\n{transaction}");
                // What is in force may not be what was thought, that may be why it was refused.
                self.read_anew()?;
            }
        }
        result
    }

    fn send_batch(&mut self, transaction: &Transaction) -> Result<(), NftError> {
        let begin = self.sequence;
        let first = begin.wrapping_add(1);
        let count = transaction.changes.len() as u32;
        self.sequence = first.wrapping_add(count).wrapping_add(1);
        let batch = encode::batch(transaction, first);
        // A batch is one message to the socket; SO_SNDBUF is doubled by the kernel for its own bookkeeping. Without the
        // privilege to go beyond the limit, a batch that is too big is refused by `send`.
        let room = batch.len() + RECEIVE_BYTES;
        let _ = nix::sys::socket::setsockopt(&self.socket.as_fd(), nix::sys::socket::sockopt::SndBufForce, &room);
        self.send(&batch, "send nftables changes")?;

        let last = first.wrapping_add(count - 1);
        loop {
            for message in Messages(&self.receive("read nftables' answer")?) {
                let Some((errno, hint)) = message.error() else { continue };
                // An answer to an earlier batch that broke off.
                let Some(n) = message.sequence.checked_sub(begin).filter(|n| *n <= count) else { continue };
                match (errno, n) {
                    (Errno::UnknownErrno, _) if message.sequence == last => return Ok(()),
                    (Errno::UnknownErrno, _) => {}
                    (errno, 0) => return Err(NftError::Commit { lines: transaction.changes.len(), errno }),
                    (errno, n) => {
                        let line = transaction.changes.get(n as usize - 1).map(ToString::to_string);
                        self.drain();
                        return Err(NftError::Refused { line: shorten(line.unwrap_or_default()), errno, hint });
                    }
                }
            }
        }
    }

    fn read(&mut self) -> Result<Table, NftError> {
        let mut table = Table::default();
        let tables = self.dump(number::GET_TABLE, None, "tables")?;
        if !tables.iter().any(|body| text(body, 1) == Some(TABLE)) {
            return Ok(table);
        }
        for body in self.dump(number::GET_CHAIN, None, "chains")? {
            // The kernel does not filter chains by table.
            if text(&body, 1) == Some(TABLE) {
                table.chains.extend(decode::chain(&body));
            }
        }
        for body in self.dump(number::GET_RULE, None, "rules")? {
            if let Some((chain, rule)) = decode::rule(&body).filter(|_| text(&body, 1) == Some(TABLE)) {
                table.chains.entry(chain).or_default().rules.push(rule);
            }
        }
        for body in self.dump(number::GET_SET, None, "sets")? {
            let Some((name, shape)) = decode::set(&body) else { continue };
            let mut elements = BTreeMap::new();
            for body in self.dump(number::GET_ELEMENTS, Some(&name), "elements")? {
                elements.extend(decode::elements(&body, shape).map(|e| (e.key, e.verdict)));
            }
            table.sets.insert(name, super::object::Set { shape, elements });
        }
        Ok(table)
    }

    /// The attributes of every object of a kind; begun again when a change came between.
    fn dump(&mut self, kind: u16, set: Option<&str>, what: &'static str) -> Result<Vec<Vec<u8>>, NftError> {
        for _ in 0..DUMP_TRIES {
            let sequence = self.sequence;
            self.sequence = sequence.wrapping_add(1);
            self.send(&encode::dump(kind, sequence, set), "ask nftables")?;
            if let Some(bodies) = self.dumped(sequence, what)? {
                return Ok(bodies);
            }
        }
        Err(NftError::Dump { what, source: Errno::EINTR.into() })
    }

    /// `None` when the dump is torn: something changed while it was made.
    fn dumped(&mut self, sequence: u32, what: &'static str) -> Result<Option<Vec<Vec<u8>>>, NftError> {
        let mut bodies = Vec::new();
        let mut torn = false;
        loop {
            for message in Messages(&self.receive("read nftables' dump")?) {
                if message.sequence != sequence {
                    continue;
                }
                torn |= message.flags & libc::NLM_F_DUMP_INTR as u16 != 0;
                match i32::from(message.kind) {
                    libc::NLMSG_DONE => return Ok((!torn).then_some(bodies)),
                    libc::NLMSG_ERROR => match message.error() {
                        Some((Errno::UnknownErrno, _)) | None => {}
                        Some((Errno::EINTR, _)) => return Ok(None),
                        Some((errno, _)) => return Err(NftError::Dump { what, source: errno.into() }),
                    },
                    _ => bodies.push(message.payload.get(GENERIC_HEADER..).unwrap_or_default().to_vec()),
                }
            }
        }
    }

    fn send(&self, bytes: &[u8], what: &'static str) -> Result<(), NftError> {
        self.socket.send(bytes, 0).map(drop).map_err(|source| NftError::Socket { what, source })
    }

    /// One datagram. The answer is queued when `send` returns, so an empty queue is an error, not a reason to wait.
    fn receive(&self, what: &'static str) -> Result<Vec<u8>, NftError> {
        let mut buffer = Vec::with_capacity(RECEIVE_BYTES);
        match self.socket.recv(&mut buffer, libc::MSG_DONTWAIT) {
            Ok(_) => Ok(buffer),
            Err(source) => Err(NftError::Socket { what, source }),
        }
    }

    fn drain(&self) {
        while self.receive("empty the queue").is_ok() {}
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filter").field("chains", &self.have.chains.len()).finish_non_exhaustive()
    }
}

fn open_socket() -> Result<Socket, KernelError> {
    let open = || {
        let mut socket = Socket::new(libc::NETLINK_NETFILTER as isize)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        // An error then quotes the header of the refused message only, not all of it.
        socket.set_cap_ack(true)?;
        Ok(socket)
    };
    open().map_err(|source| KernelError::io("open a netfilter socket".into(), source))
}

/// At most some lines of a terminal: a line with hundreds of elements says no more than its beginning.
fn shorten(mut line: String) -> String {
    const CHARACTERS: usize = 400;
    if let Some((end, _)) = line.char_indices().nth(CHARACTERS) {
        line.truncate(end);
        line.push('…');
    }
    line
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Message<'_> {
    /// The errno of an answer, `UnknownErrno` (0) for an acknowledgement, and the kernel's words.
    fn error(&self) -> Option<(Errno, Option<String>)> {
        const TEXT: u16 = 1;
        if i32::from(self.kind) != libc::NLMSG_ERROR {
            return None;
        }
        let errno = i32::from_ne_bytes(*self.payload.first_chunk()?);
        let words = (self.flags & libc::NLM_F_ACK_TLVS as u16 != 0)
            .then(|| attribute(self.payload.get(4 + HEADER..)?, TEXT))
            .flatten()
            .map(|bytes| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned());
        Some((Errno::from_raw(-errno), words))
    }
}

/// The messages of one datagram.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.first_chunk::<HEADER>()?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let message = Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            payload: self.0.get(HEADER..length)?,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}
