//! The only part of this folder that talks to the kernel: one socket for each namespace, one table in it.
//!
//! Calls block for microseconds: the kernel answers a batch within `send`. Nothing is remembered but the last table, which
//! is read anew from the kernel after every failure.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

use super::attribute::{attribute, text};
use super::encode::{self, number};
use super::object::{TABLE, Table};
use super::transaction::{Change, Transaction};
use super::{decode, diff};
use crate::kernel::error::KernelError;
use crate::kernel::netns::Netns;

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
    #[error("cannot open nftables in a network namespace")]
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

/// The table of one namespace, as it is in force.
///
/// Dropping it leaves the table in force: packets do not depend on the agent.
pub(crate) struct InForce {
    socket: Socket,
    sequence: u32,
    have: Table,
}

impl InForce {
    /// Opens the namespace's nftables and reads the table that is there, if one is.
    pub(crate) fn open(netns: &Netns) -> Result<Self, NftError> {
        let socket = netns.run(open_socket).map_err(NftError::Open)?.map_err(NftError::Open)?;
        let mut in_force = Self { socket, sequence: 1, have: Table::default() };
        in_force.observe()?;
        Ok(in_force)
    }

    /// The table as it was last made or read.
    pub(crate) fn have(&self) -> &Table {
        &self.have
    }

    /// Reads the table from the kernel (`nft list table inet ecsnet`).
    pub(crate) fn observe(&mut self) -> Result<&Table, NftError> {
        self.have = self.read()?;
        Ok(&self.have)
    }

    /// Brings the table to `want` in one step, and says what had to change (`nft -f`).
    pub(crate) fn ensure(&mut self, want: Table) -> Result<Transaction, NftError> {
        let transaction = diff(&self.have, &want);
        self.send_change(&transaction)?;
        self.have = want;
        Ok(transaction)
    }

    /// Changes the table in one step.
    pub(crate) fn apply(&mut self, transaction: &Transaction) -> Result<(), NftError> {
        self.send_change(transaction)?;
        transaction.apply_to(&mut self.have);
        Ok(())
    }

    /// Takes the table away (`nft delete table inet ecsnet`); absent is fine.
    pub(crate) fn remove(&mut self) -> Result<(), NftError> {
        if *self.observe()? != Table::default() {
            self.apply(&Transaction { changes: vec![Change::DeleteTable] })?;
        }
        Ok(())
    }

    fn send_change(&mut self, transaction: &Transaction) -> Result<(), NftError> {
        if transaction.is_empty() {
            return Ok(());
        }
        let result = self.send_batch(transaction);
        match &result {
            Ok(()) => tracing::debug!(changes = transaction.changes.len(), "nftables:\n{transaction}"),
            Err(error) => {
                tracing::debug!(%error, "nftables transaction refused:\n{transaction}");
                // What is in force may not be what was thought, that may be why it was refused.
                self.observe()?;
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
                elements.extend(decode::elements(&body, shape).map(|e| (e.key, e.mapped)));
            }
            table.sets.insert(name, super::object::Set { shape, elements });
        }
        Ok(table)
    }

    /// The attributes of every object of a kind; begun again when a change came between.
    pub(super) fn dump(&mut self, kind: u16, set: Option<&str>, what: &'static str) -> Result<Vec<Vec<u8>>, NftError> {
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

impl std::fmt::Debug for InForce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InForce").field("chains", &self.have.chains.len()).finish_non_exhaustive()
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
