//! The rtnetlink socket of one namespace: requests, dumps, and the kernel's own words when it refuses.
//!
//! Everything in [`super::link`], [`super::address`], [`super::route`] and [`super::neighbour`] goes through here. It
//! pins its namespace: the links in it go only when the socket is dropped too.

use std::future::{Future, poll_fn};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::pin::Pin;
use std::task::Poll;

use futures_util::StreamExt;
use netlink_packet_core::{
    ErrorMessage, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, TokioSocket, protocols::NETLINK_ROUTE};
use nix::errno::Errno;
use tokio::sync::Mutex;

use super::error::KernelError;
use super::netns::Netns;

/// `NLM_F_DUMP_INTR`: what is dumped changed meanwhile, so the dump may lack or repeat entries.
const DUMP_INTERRUPTED: u16 = 0x10;
/// `NLM_F_CAPPED` and `NLM_F_ACK_TLVS`: the request is not echoed whole, and attributes follow it.
const CAPPED: u16 = 0x100;
const ACK_TLVS: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`: the kernel's words.
const ATTR_MSG: u16 = 1;
const HEADER: usize = 16;
/// A dump that is interrupted this often is given up; the caller's next try comes anyway.
const DUMP_TRIES: usize = 16;

/// An open rtnetlink socket inside a namespace, used from any thread of the async runtime.
#[derive(Debug)]
pub struct RouteSocket {
    handle: rtnetlink::Handle,
    /// The kernel answers EBUSY to a second dump on a socket while one runs, so dumps wait for each other here.
    dumps: Mutex<()>,
}

impl RouteSocket {
    /// Opens the socket inside `netns`. Call it on the async runtime, which from then on serves the socket.
    ///
    /// # Errors
    /// When the namespace cannot be entered or the socket not be made.
    pub fn open(netns: &Netns) -> Result<Self, KernelError> {
        let failed = |source| KernelError::io("open an rtnetlink socket".into(), source);
        let born_inside = netns.run(|| {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind_auto()?;
            socket.set_ext_ack(true)?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        })?;
        let socket = born_inside.map_err(failed)?;
        // SAFETY: the descriptor was just taken out of its only owner.
        let socket = unsafe { TokioSocket::from_raw_fd(socket.into_raw_fd()) };
        let (connection, handle, _) = rtnetlink::from_socket(socket);
        // Ends when the last handle is dropped.
        tokio::spawn(connection);
        Ok(Self { handle, dumps: Mutex::new(()) })
    }

    /// Asks for a change and waits for the kernel's acknowledgement.
    pub(super) async fn change(
        &self,
        what: impl FnOnce() -> String,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(), KernelError> {
        let answers = self.ask(message, NLM_F_ACK | flags).await;
        answers.map(drop).map_err(|failure| failure.into_error(what()))
    }

    /// Asks for one thing. Absent things come back as an error with [`KernelError::is_absent`].
    pub(super) async fn one(
        &self,
        what: impl Fn() -> String,
        message: RouteNetlinkMessage,
    ) -> Result<RouteNetlinkMessage, KernelError> {
        let answers = self.ask(message, 0).await.map_err(|failure| failure.into_error(what()))?;
        answers.messages.into_iter().next().ok_or_else(|| KernelError::unexpected(what(), "the answer is empty"))
    }

    /// Asks for all things of a kind, consistent in itself.
    pub(super) async fn dump(
        &self,
        what: &str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, KernelError> {
        let _one_at_a_time = self.dumps.lock().await;
        for _ in 0..DUMP_TRIES {
            let answers =
                self.ask(message.clone(), NLM_F_DUMP).await.map_err(|failure| failure.into_error(what.to_owned()))?;
            if !answers.interrupted {
                return Ok(answers.messages);
            }
        }
        Err(KernelError::unexpected(what, format!("it changed under each of {DUMP_TRIES} readings")))
    }

    async fn ask(&self, message: RouteNetlinkMessage, flags: u16) -> Result<Answers, Failure> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let mut stream = self.handle.clone().request(request).map_err(|_| Failure::Closed)?;
        let mut answers = Answers { messages: Vec::new(), interrupted: false };
        while let Some(answer) = stream.next().await {
            answers.interrupted |= answer.header.flags & DUMP_INTERRUPTED != 0;
            match answer.payload {
                NetlinkPayload::InnerMessage(message) => answers.messages.push(message),
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    return Err(Failure::Refused(
                        Errno::from_raw(error.raw_code().saturating_neg()),
                        kernel_words(&answer.header, &error),
                    ));
                }
                NetlinkPayload::Overrun(_) => return Err(Failure::Refused(Errno::ENOBUFS, None)),
                _ => {}
            }
        }
        Ok(answers)
    }
}

/// A change that is not yet asked for: nothing is sent before it is polled.
pub type Pending<'a> = Pin<Box<dyn Future<Output = Result<(), KernelError>> + Send + 'a>>;

/// Asks for all changes at once, in the order given, and waits for all answers; the first refusal in that order is the error.
///
/// The kernel works a socket's requests off one by one, so each finds what those before it did. What follows a refused one
/// is asked for all the same: only for changes that do no harm without those before. Saves a turn of the runtime for each.
///
/// # Errors
/// When the kernel refuses one of them.
pub async fn in_order(changes: impl IntoIterator<Item = Pending<'_>>) -> Result<(), KernelError> {
    let mut waiting: Vec<_> = changes.into_iter().map(|change| (change, None)).collect();
    poll_fn(|context| {
        let mut all = true;
        // The first poll of each hands its request to the socket, hence one after the other and never skipping ahead.
        for (change, result) in waiting.iter_mut().filter(|(_, result)| result.is_none()) {
            match change.as_mut().poll(context) {
                Poll::Ready(answer) => *result = Some(answer),
                Poll::Pending => all = false,
            }
        }
        if all { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, result)| result).collect()
}

struct Answers {
    messages: Vec<RouteNetlinkMessage>,
    interrupted: bool,
}

enum Failure {
    Refused(Errno, Option<String>),
    Closed,
}

impl Failure {
    fn into_error(self, what: String) -> KernelError {
        match self {
            Self::Refused(errno, hint) => KernelError::refused(what, errno, hint),
            Self::Closed => KernelError::unexpected(what, "the namespace's socket is closed"),
        }
    }
}

/// The text of the extended acknowledgement: attributes after the echo of the request.
fn kernel_words(header: &NetlinkHeader, error: &ErrorMessage) -> Option<String> {
    if header.flags & ACK_TLVS == 0 {
        return None;
    }
    let echo: [u8; 4] = error.header.get(..4)?.try_into().ok()?;
    let echoed = if header.flags & CAPPED == 0 { u32::from_ne_bytes(echo) as usize } else { HEADER };
    let mut rest = error.header.get(echoed.next_multiple_of(4)..)?;
    loop {
        let (length, kind) = (rest.get(..2)?, rest.get(2..4)?);
        let length = usize::from(u16::from_ne_bytes(length.try_into().ok()?));
        let kind = u16::from_ne_bytes(kind.try_into().ok()?);
        let value = rest.get(4..length)?;
        if kind == ATTR_MSG {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(echo: &[u8], attributes: &[u8], flags: u16) -> (NetlinkHeader, ErrorMessage) {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let mut error = ErrorMessage::default();
        error.header = [echo, attributes].concat();
        (header, error)
    }

    #[test]
    fn the_kernels_words_stand_behind_the_echoed_request() {
        let mut echo = vec![0; 20];
        echo[..4].copy_from_slice(&20u32.to_ne_bytes());
        let attributes = [
            &8u16.to_ne_bytes()[..],
            &2u16.to_ne_bytes(),
            &[1, 2, 3, 4],
            &7u16.to_ne_bytes(),
            &1u16.to_ne_bytes(),
            b"no\0\0",
        ]
        .concat();
        let (header, error) = refusal(&echo, &attributes, ACK_TLVS);
        assert_eq!(kernel_words(&header, &error).as_deref(), Some("no"));
        let (header, error) = refusal(&echo[..16], &attributes, ACK_TLVS | CAPPED);
        assert_eq!(kernel_words(&header, &error).as_deref(), Some("no"));
        let (header, error) = refusal(&echo, &[], 0);
        assert_eq!(kernel_words(&header, &error), None);
    }

    proptest! {
        #[test]
        fn no_refusal_however_garbled_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64), capped: bool) {
            let (header, error) = refusal(&bytes, &[], if capped { ACK_TLVS | CAPPED } else { ACK_TLVS });
            kernel_words(&header, &error);
        }
    }
}
