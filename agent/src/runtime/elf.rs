//! Whether a binary runs on an empty file system: an ELF file that asks for no interpreter.
//!
//! Read before our own binary goes into an image; a dynamic one would fail there with "no such file". Pure but for
//! the reader it is given.

use std::io::{self, Read, Seek, SeekFrom};

/// Program header type that names the dynamic loader (`elf(5)`).
const PT_INTERP: u32 = 3;
/// Size of a 64-bit program header.
const HEADER_SIZE: u16 = 56;

/// What a file is, as far as running it without a loader goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linkage {
    /// Runs by itself (static, or static-pie).
    Static,
    /// Needs this loader, for example `/lib64/ld-linux-x86-64.so.2`.
    Dynamic(String),
    /// Not a 64-bit little-endian ELF file.
    NotElf,
}

/// Reads the program headers of `file`.
pub fn linkage(file: &mut (impl Read + Seek)) -> io::Result<Linkage> {
    let mut head = [0; 64];
    if !read_all(file, 0, &mut head)? || head[..6] != *b"\x7fELF\x02\x01" {
        return Ok(Linkage::NotElf);
    }
    let table = u64_at(&head, 32);
    let (size, count) = (u16_at(&head, 54), u16_at(&head, 56));
    if count > 0 && size < HEADER_SIZE {
        return Ok(Linkage::NotElf);
    }
    for index in 0..u64::from(count) {
        let mut header = [0; HEADER_SIZE as usize];
        let Some(at) = index.checked_mul(u64::from(size)).and_then(|offset| table.checked_add(offset)) else {
            return Ok(Linkage::NotElf);
        };
        if !read_all(file, at, &mut header)? {
            return Ok(Linkage::NotElf);
        }
        if u32_at(&header, 0) != PT_INTERP {
            continue;
        }
        // A loader's path is short; a longer one is cut, as it is only for the message.
        let mut path = vec![0; usize::try_from(u64_at(&header, 32)).unwrap_or(usize::MAX).min(256)];
        if !read_all(file, u64_at(&header, 8), &mut path)? {
            return Ok(Linkage::NotElf);
        }
        let text = String::from_utf8_lossy(&path);
        return Ok(Linkage::Dynamic(text.trim_end_matches('\0').to_owned()));
    }
    Ok(Linkage::Static)
}

/// Fills `buffer` from offset `at`; `false` when the file ends before.
fn read_all(file: &mut (impl Read + Seek), at: u64, buffer: &mut [u8]) -> io::Result<bool> {
    // Offsets beyond this are refused by the kernel with EINVAL; such a file is damaged, not unreadable.
    if at > i64::MAX as u64 {
        return Ok(false);
    }
    file.seek(SeekFrom::Start(at))?;
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Cursor;

    use super::*;

    #[test]
    fn our_own_tests_are_static() {
        let mut own = File::open("/proc/self/exe").unwrap();
        assert_eq!(linkage(&mut own).unwrap(), Linkage::Static);
    }

    #[test]
    fn a_dynamic_program_names_its_loader() {
        let mut program = File::open("/bin/ls").unwrap();
        assert!(matches!(linkage(&mut program).unwrap(), Linkage::Dynamic(loader) if loader.contains("ld-")));
    }

    proptest::proptest! {
        #[test]
        fn damaged_files_are_no_elf_and_no_panic(mut bytes: Vec<u8>) {
            let _ = linkage(&mut Cursor::new(&bytes)).unwrap();
            bytes.resize(80, 0xff);
            bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
            let _ = linkage(&mut Cursor::new(&bytes)).unwrap();
        }
    }
}
