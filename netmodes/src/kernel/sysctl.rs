//! Settings under `/proc/sys/net` of a namespace (`sysctl -w net.…`).
//!
//! The files show the namespace of the thread that opens them, hence the way through [`Netns::run`].

use std::io::ErrorKind;

use super::error::KernelError;
use super::netns::Netns;

/// One setting that should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sysctl {
    /// Below `/proc/sys/net/`, for example `ipv4/ip_forward`.
    pub path: String,
    /// As written into the file, no newline.
    pub value: &'static str,
    /// Whether a kernel without the setting will do (IPv6 switched off at boot).
    pub optional: bool,
}

impl Sysctl {
    /// A setting that must be there.
    pub fn new(path: impl Into<String>, value: &'static str) -> Self {
        Self { path: path.into(), value, optional: false }
    }

    /// A setting that a kernel may lack.
    pub fn optional(path: impl Into<String>, value: &'static str) -> Self {
        Self { path: path.into(), value, optional: true }
    }
}

/// Writes those settings that are otherwise; all in one entry into the namespace.
///
/// # Errors
/// When one cannot be read or written.
pub fn ensure(netns: &Netns, settings: &[Sysctl]) -> Result<(), KernelError> {
    netns.run(|| settings.iter().try_for_each(write))?
}

/// Whether all settings are as they should be; all in one entry into the namespace.
///
/// # Errors
/// When one cannot be read.
pub fn hold(netns: &Netns, settings: &[Sysctl]) -> Result<bool, KernelError> {
    netns.run(|| {
        for setting in settings {
            if !holds(setting)? {
                return Ok(false);
            }
        }
        Ok(true)
    })?
}

/// The value of a setting, blanks around it cut off; `None` when the kernel lacks it.
///
/// # Errors
/// When it cannot be read.
pub fn read(netns: &Netns, path: &str) -> Result<Option<String>, KernelError> {
    netns.run(|| read_file(path))?
}

fn read_file(path: &str) -> Result<Option<String>, KernelError> {
    match std::fs::read_to_string(file(path)) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KernelError::io(format!("read {}", file(path)), source)),
    }
}

fn holds(setting: &Sysctl) -> Result<bool, KernelError> {
    Ok(match read_file(&setting.path)? {
        Some(there) => there == setting.value,
        None => setting.optional,
    })
}

fn write(setting: &Sysctl) -> Result<(), KernelError> {
    // Writing what is there already would still walk all links, for the settings named `all`.
    if holds(setting)? {
        return Ok(());
    }
    std::fs::write(file(&setting.path), setting.value)
        .map_err(|source| KernelError::io(format!("write {} to {}", setting.value, file(&setting.path)), source))
}

fn file(path: &str) -> String {
    format!("/proc/sys/net/{path}")
}
