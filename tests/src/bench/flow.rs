//! Bytes between two network namespaces, as a bench measures them: exchanges one after another, and many bytes at once.
//!
//! Server and client are threads of the bench itself, each on a core of its own, with sockets that were opened inside: so
//! all sides of a comparison have the same programs on the same cores, and differ by the way in between.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::Outcome;
use crate::probe::within;

/// Of an exchange, there and back.
const MESSAGE: usize = 64;
/// Of one write of many.
const BLOCK: usize = 128 << 10;
/// Longer means broken, never slow.
const BROKEN_AFTER: Duration = Duration::from_secs(60);
/// What a connection begins with: it echoes, or it swallows everything and says so at the end.
const ECHO: u8 = b'e';
const SWALLOW: u8 = b's';

/// Serves on a port of a namespace, `/proc/<pid>/ns/net`, until the program ends.
///
/// # Errors
/// When the port is taken.
pub fn serve(netns: &str, port: u16) -> Outcome<()> {
    let listener = within(netns, || TcpListener::bind(("0.0.0.0", port)))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                pin(1);
                // The client sees what went wrong.
                let _ended = answer(stream);
            });
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut kind, mut block) = ([0], vec![0; BLOCK]);
    stream.read_exact(&mut kind)?;
    loop {
        match stream.read(&mut block)? {
            0 if kind[0] == SWALLOW => return stream.write_all(&kind),
            0 => return Ok(()),
            length if kind[0] == ECHO => stream.write_all(&block[..length])?,
            _ => {}
        }
    }
}

/// Who asks, and where.
#[derive(Debug, Clone)]
pub struct Way {
    /// `/proc/<pid>/ns/net` of the client.
    pub netns: String,
    /// Where it finds the server.
    pub to: SocketAddr,
}

impl Way {
    /// The median and the 99th percentile of so many exchanges over one connection, after as many that do not count.
    ///
    /// # Errors
    /// When the server is not reached.
    pub fn latency(&self, exchanges: usize) -> Outcome<(Duration, Duration)> {
        self.with(ECHO, |stream| {
            let mut message = [7; MESSAGE];
            let mut exchange = || {
                let start = Instant::now();
                stream.write_all(&message)?;
                stream.read_exact(&mut message)?;
                Ok::<_, std::io::Error>(start.elapsed())
            };
            for _ in 0..exchanges {
                exchange()?;
            }
            let mut times = (0..exchanges).map(|_| exchange()).collect::<Result<Vec<_>, _>>()?;
            times.sort_unstable();
            Ok((times[exchanges / 2], times[exchanges * 99 / 100]))
        })
    }

    /// How long so many MiB take, until the server has read them all.
    ///
    /// # Errors
    /// When the server is not reached.
    pub fn bulk(&self, mebibytes: usize) -> Outcome<Duration> {
        self.with(SWALLOW, |stream| {
            let block = vec![7; BLOCK];
            let start = Instant::now();
            for _ in 0..(mebibytes << 20) / BLOCK {
                stream.write_all(&block)?;
            }
            stream.shutdown(std::net::Shutdown::Write)?;
            stream.read_exact(&mut [0])?;
            Ok(start.elapsed())
        })
    }

    /// On a thread of its own, so that the bench itself stays on all cores.
    fn with<T: Send>(&self, kind: u8, work: impl FnOnce(&mut TcpStream) -> std::io::Result<T> + Send) -> Outcome<T> {
        let measured = within(&self.netns, || {
            pin(0);
            let mut stream = TcpStream::connect_timeout(&self.to, BROKEN_AFTER)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(BROKEN_AFTER))?;
            stream.write_all(&[kind])?;
            work(&mut stream)
        });
        measured.map_err(|error| format!("{} from {}: {error}", self.to, self.netns).into())
    }
}

/// Keeps this thread on the `nth` of the cores that it may use; one that is alone is shared.
fn pin(nth: usize) {
    let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) else { return };
    let cores: Vec<usize> = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false)).collect();
    let mut own = CpuSet::new();
    if let Some(core) = cores.get(nth % cores.len().max(1))
        && own.set(*core).is_ok()
    {
        // Unpinned it measures as well, with a wider spread.
        let _pinned = sched_setaffinity(Pid::from_raw(0), &own);
    }
}
