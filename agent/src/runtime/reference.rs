//! The name of an image, taken apart as Docker does it. Pure.

use std::fmt;

/// Docker Hub, as `config.json` names it.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// `repository[:tag][@digest]`, as in a container definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    /// Registry and path, without tag and digest.
    pub repository: String,
    /// What is after the colon; `latest` where neither tag nor digest is given.
    pub tag: Option<String>,
    /// `sha256:…`, without the at sign.
    pub digest: Option<String>,
}

impl ImageReference {
    /// Takes a reference apart. A colon before the last slash is a registry's port.
    pub fn parse(text: &str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (text, None),
        };
        let last_slash = name.rfind('/').map_or(0, |at| at + 1);
        let (repository, tag) = match name[last_slash..].rfind(':') {
            Some(colon) => (&name[..last_slash + colon], Some(name[last_slash + colon + 1..].to_owned())),
            None => (name, None),
        };
        let tag = tag.or_else(|| digest.is_none().then(|| "latest".to_owned()));
        Self { repository: repository.to_owned(), tag, digest }
    }

    /// The registry that it comes from, as Docker's `config.json` names it. The first part of a name is a registry when
    /// it could be a host; all else is Docker Hub's.
    pub fn server(&self) -> String {
        match self.repository.split_once('/') {
            Some((first, _)) if first == "localhost" || first.contains(['.', ':']) => match first {
                "docker.io" | "index.docker.io" => DOCKER_HUB.to_owned(),
                host => host.to_owned(),
            },
            _ => DOCKER_HUB.to_owned(),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("nginx", "nginx:latest")]
    #[case("nginx:1.27", "nginx:1.27")]
    #[case("localhost:5000/shop/api", "localhost:5000/shop/api:latest")]
    #[case("localhost:5000/shop/api:2", "localhost:5000/shop/api:2")]
    #[case("nginx@sha256:00ff", "nginx@sha256:00ff")]
    #[case("nginx:1@sha256:00ff", "nginx:1@sha256:00ff")]
    #[case("", ":latest")]
    fn a_reference_without_tag_means_latest(#[case] text: &str, #[case] whole: &str) {
        assert_eq!(ImageReference::parse(text).to_string(), whole);
    }
}
