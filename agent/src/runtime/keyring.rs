//! Credentials of registries, as users bring them with `up`: in memory only, never stored and never logged (pitfall 20).
//!
//! The command line resolves them, since they lie in the user's home and in helpers there. An agent that starts anew has
//! none, until the next `up`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::pull::Credentials;
use super::reference::ImageReference;

/// What is known, shared by the control socket, which adds, and by pulls, which look.
#[derive(Debug, Clone, Default)]
pub struct Keyring(Arc<Mutex<BTreeMap<String, Credentials>>>);

impl Keyring {
    /// Keeps them, over what was known of the same registries.
    pub fn add(&self, credentials: Vec<Credentials>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(credentials.into_iter().map(|one| (one.server.clone(), one)));
    }

    /// How to sign in at the registry that an image comes from.
    pub fn for_image(&self, image: &str) -> Option<Credentials> {
        let server = ImageReference::parse(image).server();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&server).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::pull::Secret;
    use super::*;

    #[test]
    fn an_image_finds_the_credentials_of_its_registry() {
        let keyring = Keyring::default();
        let secret = Secret::Password { user: "u".to_owned(), password: "hunter2".to_owned() };
        let at = |server: &str| Credentials { server: server.to_owned(), secret: secret.clone() };
        keyring.add(vec![at("registry.example:5000"), at("https://index.docker.io/v1/")]);
        assert_eq!(keyring.for_image("registry.example:5000/shop/web:1"), Some(at("registry.example:5000")));
        assert_eq!(keyring.for_image("nginx"), Some(at("https://index.docker.io/v1/")));
        assert_eq!(keyring.for_image("registry.example/web"), None);
        assert!(!format!("{keyring:?}").contains("hunter2"));
    }
}
