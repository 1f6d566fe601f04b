//! A user's terminal, as a shell in a task or in its network sees it.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use e2e::eventually::{DEADLINE, eventually};
use e2e::user::{PROMPT, User};

/// A command on a terminal of its own.
struct Terminal {
    ours: std::fs::File,
    child: Child,
    seen: Vec<u8>,
}

impl Terminal {
    fn run(mut command: Command, rows: u16, columns: u16) -> Self {
        let size = nix::pty::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(Some(&size), None).unwrap();
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        command.stdin(end(&pty.slave)).stdout(end(&pty.slave)).stderr(end(&pty.slave));
        // SAFETY: setsid and ioctl are async-signal-safe and touch nothing of the parent.
        unsafe {
            command.pre_exec(|| {
                nix::unistd::setsid()?;
                if nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        // The command holds copies of its end, which would keep the terminal open past the program.
        drop(command);
        Self { ours: pty.master.into(), child, seen: Vec::new() }
    }

    /// Reads until this text has come.
    fn until(&mut self, text: &str) {
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let mut chunk = [0; 4096];
            let mut ready = [nix::poll::PollFd::new(self.ours.as_fd(), nix::poll::PollFlags::POLLIN)];
            let limit = nix::poll::PollTimeout::try_from(DEADLINE).unwrap();
            let ready = nix::poll::poll(&mut ready, limit).unwrap();
            match self.ours.read(if ready > 0 { &mut chunk[..] } else { &mut [] }) {
                Ok(length) if length > 0 => self.seen.extend_from_slice(&chunk[..length]),
                ended => panic!("no {text:?} in {:?} before {ended:?}", String::from_utf8_lossy(&self.seen)),
            }
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.seen.clear();
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = nix::pty::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: TIOCSWINSZ reads one winsize.
        assert_eq!(unsafe { nix::libc::ioctl(self.ours.as_raw_fd(), nix::libc::TIOCSWINSZ, &raw const size) }, 0);
    }

    /// Asks the shell for the terminal's size until it is this: a new size has no event.
    fn size_is(&mut self, command: &str, size: &str) {
        eventually("the shell knows the terminal's size", || {
            self.type_in(&format!("{command}; echo do''ne\n"));
            self.until("done");
            self.until(PROMPT);
            let seen = String::from_utf8_lossy(&self.seen).into_owned();
            if seen.contains(size) { Ok(()) } else { Err(seen) }
        });
    }

    /// Reads to the end; what was written since the last keys, and the exit code.
    fn end(mut self) -> (String, Option<i32>) {
        let mut chunk = [0; 4096];
        // At its end a terminal answers EIO.
        while let Ok(length @ 1..) = self.ours.read(&mut chunk) {
            self.seen.extend_from_slice(&chunk[..length]);
        }
        let code = self.child.wait().unwrap().code();
        (String::from_utf8_lossy(&self.seen).into_owned(), code)
    }
}

#[test]
fn a_shell_has_the_user_s_terminal() {
    let user = User::new(true);
    user.up();
    let prompt = format!("PS1={PROMPT}");
    for (arguments, size) in [
        (&["exec", "web", "--", "/bin/env", &prompt, "/bin/sh"][..], "/bin/busybox stty size"),
        (&["run", "--from", "web", "--", "sh"], "stty size"),
    ] {
        let mut terminal = Terminal::run(user.command(arguments), 33, 99);
        terminal.until(PROMPT);
        terminal.size_is(size, "33 99");
        terminal.resize(44, 111);
        terminal.size_is(size, "44 111");
        // Ctrl-C ends what runs in the shell, not the shell and not us.
        terminal.type_in("echo slee''ps; sleep 1000\n");
        terminal.until("sleeps");
        terminal.type_in("\u{3}");
        terminal.until(PROMPT);
        terminal.type_in("exit 42\n");
        let (seen, code) = terminal.end();
        assert_eq!(code, Some(42), "{arguments:?}: {seen}");
    }
    let (seen, code) = Terminal::run(user.command(&["exec", "web", "--", "no-such-program"]), 24, 80).end();
    assert_eq!(code, Some(127), "{seen}");
    assert!(seen.contains("error: container `app` has no program `no-such-program`"), "{seen}");
    assert!(!seen.contains("OCI"), "{seen}");
    user.ok(&["down", "--all"]);
    user.lab.assert_no_leak();
}
