//! Network namespaces by file descriptor, without a name.
//!
//! A namespace is known by its cookie, never by inode or pid, which the kernel uses again (pitfall 10). Entering one
//! happens on a thread that ends afterwards: a worker of the async runtime never changes its namespace.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::sched::{CloneFlags, setns, unshare};

use super::error::KernelError;

/// An open network namespace; it lives at least as long as this value.
#[derive(Debug)]
pub struct Netns {
    file: File,
    cookie: u64,
}

impl Netns {
    /// The namespace of a running process, `/proc/<pid>/ns/net`.
    ///
    /// # Errors
    /// When the process is gone, or is in this process's own namespace: the host's network is never an owner's.
    pub fn of_process(pid: i32) -> Result<Self, KernelError> {
        let netns = Self::open(&format!("/proc/{pid}/ns/net"))?;
        if netns.cookie == Self::open("/proc/thread-self/ns/net")?.cookie {
            return Err(KernelError::OwnNamespace { pid });
        }
        Ok(netns)
    }

    /// The namespace that this process is in: the host's. For `crate::host_link` alone.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn of_host() -> Result<Self, KernelError> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// A fresh namespace that nobody else holds; it ends with this value and what is opened in it.
    pub fn anonymous() -> Result<Self, KernelError> {
        on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| KernelError::new("make a network namespace", errno))?;
            Self::open("/proc/thread-self/ns/net")
        })
    }

    fn open(path: &str) -> Result<Self, KernelError> {
        let file = File::open(path).map_err(|source| KernelError::io(format!("open {path}"), source))?;
        let cookie = enter(file.as_fd(), netns_cookie)??;
        Ok(Self { file, cookie })
    }

    /// Another handle of the same namespace.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn try_clone(&self) -> Result<Self, KernelError> {
        let file = self.file.try_clone();
        let file = file.map_err(|source| KernelError::io("duplicate a namespace's descriptor".into(), source))?;
        Ok(Self { file, cookie: self.cookie })
    }

    /// `SO_NETNS_COOKIE`: never used again while the machine runs.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// Runs `work` inside, on a thread of its own. What it opens (sockets, listeners) stays there for ever.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, KernelError> {
        enter(self.file.as_fd(), work)
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn enter<T: Send>(netns: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, KernelError> {
    on_thread(|| {
        setns(netns, CloneFlags::CLONE_NEWNET).map_err(|errno| KernelError::new("enter a network namespace", errno))?;
        Ok(work())
    })
}

fn on_thread<T: Send>(work: impl FnOnce() -> Result<T, KernelError> + Send) -> Result<T, KernelError> {
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn netns_cookie() -> Result<u64, KernelError> {
    let socket = std::net::UdpSocket::bind("[::]:0").or_else(|_| std::net::UdpSocket::bind("0.0.0.0:0"));
    let socket =
        socket.map_err(|source| KernelError::io("open a socket to read the namespace's cookie".into(), source))?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: both pointers are to live locals of the size that is passed.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(cookie)
    } else {
        Err(KernelError::new("read the namespace's cookie", nix::errno::Errno::last()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_told_from_the_callers_own_by_its_cookie() {
        let Ok(netns) = Netns::anonymous() else {
            eprintln!("skipped: making a network namespace needs root");
            return;
        };
        let inside = netns.run(netns_cookie).unwrap().unwrap();
        assert_eq!(inside, netns.cookie());
        assert_ne!(netns_cookie().unwrap(), netns.cookie());
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(matches!(Netns::of_process(own), Err(KernelError::OwnNamespace { .. })));
    }
}
