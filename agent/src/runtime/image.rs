//! The image of our own roles: one layer with the running binary as `/ecsnet` and the directories a process expects.
//!
//! Called by `ecsnet up` before the agent starts and by the agent before it makes data-plane containers. No registry
//! is asked: the root file system goes to Docker through its API, as it is read, so nothing is held in memory.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use bollard::query_parameters::CreateImageOptions;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{self, Stream};
use sha2::{Digest, Sha256};

use super::RuntimeError;
use super::connect::Docker;
use super::elf::{Linkage, linkage};

/// Where the binary is in the image.
pub const BINARY: &str = "/ecsnet";
/// The repository part of every image of ours.
pub const REPOSITORY: &str = "ecsnet";
/// The running binary, also after the file was replaced by a newer one.
const OWN_BINARY: &str = "/proc/self/exe";

/// Directories with their modes; Docker mounts over some, and makes the files in `/etc` that it binds.
const DIRECTORIES: [(&str, u32); 7] = [
    ("etc/", 0o755),
    ("proc/", 0o755),
    ("sys/", 0o755),
    ("dev/", 0o755),
    ("tmp/", 0o1777),
    ("run/", 0o755),
    ("var/", 0o755),
];

/// A tar archive is made of blocks of this size.
const BLOCK: u64 = 512;
/// How much of the binary is read at a time.
const CHUNK: usize = 256 * 1024;

impl Docker {
    /// The image of the running binary, `ecsnet:<version>-<first 12 hex digits of its sha256>`; made if not there.
    pub async fn ensure_own_image(&self) -> Result<String, RuntimeError> {
        self.ensure_image_of(Path::new(OWN_BINARY)).await
    }

    /// The image of the static binary at `path`, under the same kind of name.
    pub async fn ensure_image_of(&self, path: &Path) -> Result<String, RuntimeError> {
        let (mut file, size, digest) = {
            let path = path.to_owned();
            tokio::task::spawn_blocking(move || examine(&path)).await.map_err(|error| RuntimeError::Unexpected {
                what: "reading our own binary".to_owned(),
                detail: error.to_string(),
            })??
        };
        let tag = format!("{}-{}", env!("CARGO_PKG_VERSION"), &digest[..12]);
        let reference = format!("{REPOSITORY}:{tag}");
        if self.has_image(&reference).await? {
            return Ok(reference);
        }
        let what = format!("import image {reference}");
        let failed = |source| RuntimeError::Io { what: what.clone(), source };
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        // The lock of `examine` is on both, so it is held until Docker has named the image.
        let archive = archive(file.try_clone().map_err(failed)?, size).map_err(failed)?;
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(REPOSITORY.to_owned()),
            tag: Some(tag),
            changes: vec![format!("ENTRYPOINT [\"{BINARY}\"]")],
            ..Default::default()
        };
        let mut answers = self.client.create_image(Some(options), Some(bollard::body_try_stream(archive)), None);
        while let Some(answer) = answers.next().await {
            answer.map_err(|error| RuntimeError::judge(&what, error))?;
        }
        drop(file);
        tracing::info!(image = %reference, "imported our own image");
        Ok(reference)
    }
}

/// Opens and locks the binary, refuses one that needs a loader, and gives its size and sha256 in hex.
fn examine(path: &Path) -> Result<(File, u64, String), RuntimeError> {
    let shown = std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path)).display().to_string();
    let failed = |source| RuntimeError::Io { what: format!("read {shown}"), source };
    let mut file = File::open(path).map_err(failed)?;
    let detail = match linkage(&mut file).map_err(failed)? {
        Linkage::Static => None,
        Linkage::Dynamic(loader) => Some(format!("it is not static and needs {loader}; build it with +crt-static")),
        Linkage::NotElf => Some("it is no 64-bit ELF program".to_owned()),
    };
    if let Some(detail) = detail {
        return Err(RuntimeError::NotStatic { path: shown, detail });
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    let (mut hash, mut size, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK]);
    loop {
        let read = file.read(&mut chunk).map_err(failed)?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
        size += read as u64;
    }
    // Agents of one binary that start at once would each import it, and Docker keep all but the last without a name. Where
    // files cannot be locked that is all that happens.
    let _ = file.lock();
    let digest = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((file, size, digest))
}

/// The root file system as a tar archive: head, the binary as it is read, padding and the two blocks of the end.
fn archive(file: File, size: u64) -> io::Result<impl Stream<Item = io::Result<Bytes>> + Send> {
    let mut head = Vec::new();
    for (path, mode) in DIRECTORIES {
        head.extend_from_slice(header(path, mode, 0, tar::EntryType::Directory)?.as_bytes());
    }
    head.extend_from_slice(header(BINARY.trim_start_matches('/'), 0o755, size, tar::EntryType::Regular)?.as_bytes());
    let tail = vec![0; usize::try_from((BLOCK - size % BLOCK) % BLOCK + 2 * BLOCK).unwrap_or_default()];
    let body = stream::try_unfold((file, size), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let wanted = CHUNK.min(usize::try_from(left).unwrap_or(CHUNK));
        let (file, chunk) = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; wanted];
            file.read_exact(&mut chunk).map(|()| (file, chunk))
        })
        .await
        .map_err(io::Error::other)??;
        let left = left - chunk.len() as u64;
        Ok(Some((Bytes::from(chunk), (file, left))))
    });
    let ends = |bytes: Vec<u8>| stream::once(async move { Ok(Bytes::from(bytes)) });
    Ok(ends(head).chain(body).chain(ends(tail)))
}

/// A header that is the same for the same binary: no times, root's.
fn header(path: &str, mode: u32, size: u64, kind: tar::EntryType) -> io::Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path)?;
    header.set_mode(mode);
    header.set_size(size);
    header.set_entry_type(kind);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures_util::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn the_archive_holds_the_binary_and_its_directories() {
        let content = vec![7; 1000];
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let chunks: Vec<Bytes> = archive(file, 1000).unwrap().try_collect().await.unwrap();
        let bytes = chunks.concat();
        assert_eq!(bytes.len() as u64 % BLOCK, 0);
        let mut reader = tar::Archive::new(&bytes[..]);
        let mut paths = Vec::new();
        for entry in reader.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            if path == "ecsnet" {
                let mut seen = Vec::new();
                entry.read_to_end(&mut seen).unwrap();
                assert_eq!(seen, content);
                assert_eq!(entry.header().mode().unwrap(), 0o755);
            }
            paths.push(path);
        }
        assert_eq!(paths, ["etc/", "proc/", "sys/", "dev/", "tmp/", "run/", "var/", "ecsnet"]);
    }

    #[test]
    fn a_dynamic_binary_is_refused_by_name() {
        let error = examine(Path::new("/bin/ls")).unwrap_err().to_string();
        assert!(error.contains("cannot run in an empty image: it is not static"), "{error}");
        assert!(matches!(examine(Path::new("/etc/passwd")), Err(RuntimeError::NotStatic { .. })));
    }
}
