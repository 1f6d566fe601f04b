//! Registry credentials of the caller, as Docker's own command line finds them: `config.json` in `~/.docker`, and the
//! helper programs that it names.
//!
//! Only here can they be found: the agent has neither the caller's home nor their key store. They go to the agent with
//! `up`, which keeps them in memory (`agent::runtime::keyring`). Nothing is printed of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use agent::runtime::{Credentials, ImageReference, Secret};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

/// The user that a helper gives when the secret is a token.
const TOKEN_USER: &str = "<token>";
/// What helpers say about a registry that they do not know.
const UNKNOWN: &str = "credentials not found";

/// What of `config.json` is about signing in.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Entry>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

/// One registry in `config.json`, if no helper keeps its secret.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase", default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// A registry whose credentials could not be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What could not be used: the file or the helper.
    what: String,
    /// Why.
    why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no registry credentials from {}: {}", self.what, self.why)
    }
}

/// The credentials for the registries of these images, as far as there are any, and what was in the way.
pub(crate) fn credentials<'a>(images: impl Iterator<Item = &'a str>) -> (Vec<Credentials>, Vec<Problem>) {
    let Some(path) = config_path() else { return (Vec::new(), Vec::new()) };
    let servers: BTreeSet<String> = images.map(|image| ImageReference::parse(image).server()).collect();
    match read(&path) {
        Ok(Some(config)) => find(&config, &servers),
        Ok(None) => (Vec::new(), Vec::new()),
        Err(why) => (Vec::new(), vec![Problem { what: path.display().to_string(), why }]),
    }
}

fn config_path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = set("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(PathBuf::from(set("HOME")?).join(".docker")));
    Some(folder?.join("config.json"))
}

/// `None` where there is no such file.
fn read(path: &Path) -> Result<Option<Config>, String> {
    match std::fs::read(path) {
        // serde's words quote the text that they do not like.
        Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|_| "it is damaged".to_owned()),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    }
}

fn find(config: &Config, servers: &BTreeSet<String>) -> (Vec<Credentials>, Vec<Problem>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for server in servers {
        // A helper for this registry goes before the one for all, and both before the file.
        let helper = config.cred_helpers.get(server).or_else(|| config.cred_helpers.get(host_of(server)));
        let helper = helper.or(Some(&config.creds_store)).filter(|name| !name.is_empty());
        let secret = match helper {
            Some(helper) => ask(&format!("docker-credential-{helper}"), server),
            None => entry(config, server).map_or(Ok(None), |(key, entry)| {
                secret(entry).map_err(|why| Problem { what: format!("the entry {key} in config.json"), why })
            }),
        };
        match secret {
            Ok(Some(secret)) => found.push(Credentials { server: server.clone(), secret }),
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
    }
    (found, problems)
}

/// The entry of a registry; older files name it by an address of its API.
fn entry<'a>(config: &'a Config, server: &str) -> Option<(&'a String, &'a Entry)> {
    let exact = config.auths.get_key_value(server);
    exact.or_else(|| config.auths.iter().find(|(key, _)| host_of(key) == host_of(server)))
}

/// `https://host:port/path` without all but host and port.
fn host_of(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// What proves who one is; `None` for an entry that a helper's login left empty.
fn secret(entry: &Entry) -> Result<Option<Secret>, String> {
    if !entry.identitytoken.is_empty() {
        return Ok(Some(Secret::IdentityToken(entry.identitytoken.clone())));
    }
    if entry.auth.is_empty() {
        let given = !entry.username.is_empty() && !entry.password.is_empty();
        return Ok(given.then(|| Secret::Password { user: entry.username.clone(), password: entry.password.clone() }));
    }
    let plain = BASE64_STANDARD.decode(entry.auth.trim()).map_err(|_| "`auth` is not base64".to_owned())?;
    let plain = String::from_utf8(plain).map_err(|_| "`auth` is not text".to_owned())?;
    let (user, password) = plain.split_once(':').ok_or("`auth` is not user:password")?;
    // Docker pads with zeros.
    Ok(Some(Secret::Password { user: user.to_owned(), password: password.trim_end_matches('\0').to_owned() }))
}

/// Asks a helper: the registry goes in, its answer comes out.
fn ask(helper: &str, server: &str) -> Result<Option<Secret>, Problem> {
    let problem = |why: String| Problem { what: format!("{helper} for {server}"), why };
    let mut process = Command::new(helper)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => problem("config.json names it, and it is not installed".to_owned()),
            _ => problem(error.to_string()),
        })?;
    if let Some(mut input) = process.stdin.take() {
        // One that ends without reading says why in its answer.
        let _ = input.write_all(server.as_bytes());
    }
    let output = process.wait_with_output().map_err(|error| problem(error.to_string()))?;
    if !output.status.success() {
        // Helpers say why they failed on either output.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        return if said.contains(UNKNOWN) { Ok(None) } else { Err(problem(said)) };
    }
    let answer: Answer = serde_json::from_slice(&output.stdout)
        // The answer holds a secret, which an error of the parser might quote.
        .map_err(|_| problem("its answer is not as agreed".to_owned()))?;
    if answer.secret.is_empty() {
        return Ok(None);
    }
    Ok(Some(match answer.username.as_str() {
        TOKEN_USER => Secret::IdentityToken(answer.secret),
        _ => Secret::Password { user: answer.username, password: answer.secret },
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn config(text: &str) -> Config {
        serde_json::from_str(text).unwrap()
    }

    fn found(text: &str, image: &str) -> Option<Secret> {
        let servers = BTreeSet::from([ImageReference::parse(image).server()]);
        let (mut found, problems) = find(&config(text), &servers);
        assert_eq!(problems, []);
        found.pop().map(|one| one.secret)
    }

    fn password(user: &str, password: &str) -> Option<Secret> {
        Some(Secret::Password { user: user.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn an_entry_is_found_under_each_name_that_docker_gave_it() {
        let hub = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dTpwOnE="}}}"#;
        assert!(found(hub, "nginx") == password("u", "p:q"));
        assert!(found(hub, "library/nginx:1") == password("u", "p:q"));
        assert!(found(hub, "registry.example/web").is_none());
        let own = r#"{"auths": {"https://registry.example:5000/v2/": {"auth": "dTpwOnE="}}}"#;
        assert!(found(own, "registry.example:5000/web") == password("u", "p:q"));
        let token = r#"{"auths": {"registry.example": {"identitytoken": "t", "auth": "dTo="}}}"#;
        assert!(found(token, "registry.example/web") == Some(Secret::IdentityToken("t".to_owned())));
        assert!(found(r#"{"auths": {"registry.example": {}}, "HttpHeaders": {}}"#, "registry.example/web").is_none());
    }

    fn helper(answer: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("helper");
        std::fs::write(&path, format!("#!/bin/sh\ncat > {}\n{answer}\n", folder.path().join("asked").display()))
            .unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = path.display().to_string();
        (folder, path)
    }

    #[test]
    fn a_helper_is_asked_for_the_registry() {
        let (folder, path) = helper(r#"echo '{"ServerURL":"r","Username":"u","Secret":"p"}'"#);
        assert!(ask(&path, "registry.example").unwrap() == password("u", "p"));
        assert_eq!(std::fs::read_to_string(folder.path().join("asked")).unwrap(), "registry.example");
        let (_folder, path) = helper(r#"echo '{"ServerURL":"r","Username":"<token>","Secret":"t"}'"#);
        assert!(ask(&path, "registry.example").unwrap() == Some(Secret::IdentityToken("t".to_owned())));
        let (_folder, path) = helper("echo 'credentials not found in native keychain'; exit 1");
        assert!(ask(&path, "registry.example").unwrap().is_none());
    }

    #[test]
    fn a_helper_that_cannot_help_is_named() {
        let (_folder, path) = helper("echo 'the key store is locked' >&2; exit 1");
        let problem = ask(&path, "registry.example").err().unwrap().to_string();
        assert!(problem.ends_with("helper for registry.example: the key store is locked"), "{problem}");
        let problem = ask("docker-credential-of-nobody", "registry.example").err().unwrap();
        insta::assert_snapshot!(problem, @"no registry credentials from docker-credential-of-nobody for registry.example: config.json names it, and it is not installed");
        let (_folder, path) = helper("echo '{\"Secret\": \"hunter2\"'");
        assert!(!ask(&path, "registry.example").err().unwrap().to_string().contains("hunter2"));
    }

    #[test]
    fn a_broken_entry_is_named_without_what_is_in_it() {
        let servers = BTreeSet::from(["registry.example".to_owned()]);
        let (found, problems) = find(&config(r#"{"auths": {"registry.example": {"auth": "%hunter2"}}}"#), &servers);
        assert!(found.is_empty());
        insta::assert_snapshot!(problems[0], @"no registry credentials from the entry registry.example in config.json: `auth` is not base64");
    }
}
