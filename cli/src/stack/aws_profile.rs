//! A named profile of the caller's shared credentials file, whose keys stand for a task role's.
//!
//! `$AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`, read as AWS's command line reads it. Only here can it be
//! read: the agent has no home. The keys go to the agent beside the stack, and never into it. Only profiles with keys in
//! the file are taken: one that says how to get keys (a role, SSO, a program) would need the network or a program of the
//! user's, so it is refused in words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use agent::project::metadata::Keys;
use agent::secret::SecretValue;

use super::local_file;

/// What stands in a profile that says how to get keys.
const WAYS: [&str; 5] = ["role_arn", "credential_process", "sso_session", "sso_start_url", "web_identity_token_file"];

/// Why a profile gives no keys, with what can be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProfileError {
    pub(super) message: String,
    pub(super) hint: String,
}

/// The keys of a profile. `set` is the caller's environment.
pub(super) fn keys(profile: &str, set: impl Fn(&str) -> Option<String>) -> Result<Keys, ProfileError> {
    let Some(file) = file(&set) else {
        return Err(ProfileError {
            message: "there is no home directory to look for AWS credentials in".to_owned(),
            hint: "set HOME, or AWS_SHARED_CREDENTIALS_FILE to the file".to_owned(),
        });
    };
    let text = local_file::text(&file).map_err(|reason| ProfileError {
        message: format!("cannot read the AWS credentials `{}`: {reason}", file.display()),
        hint: format!("`aws configure --profile {profile}` writes it, or set AWS_SHARED_CREDENTIALS_FILE"),
    })?;
    let profiles = parse(&text);
    let Some(fields) = profiles.get(profile) else {
        let known: Vec<&str> = profiles.keys().map(String::as_str).collect();
        return Err(ProfileError {
            message: format!("`{}` has no profile `{profile}`", file.display()),
            hint: if known.is_empty() {
                "it has none at all".to_owned()
            } else {
                format!("it has {}", known.join(", "))
            },
        });
    };
    let field = |name: &str| fields.get(name).filter(|value| !value.is_empty());
    let token = field("aws_session_token").or_else(|| field("aws_security_token"));
    match (field("aws_access_key_id"), field("aws_secret_access_key")) {
        (Some(id), Some(secret)) => Ok(Keys {
            access_key_id: id.clone(),
            secret_access_key: SecretValue::new(secret),
            token: SecretValue::new(token.map_or("", String::as_str)),
            expiration: None,
        }),
        (id, _) => {
            let missing = if id.is_some() { "aws_secret_access_key" } else { "aws_access_key_id" };
            let way = WAYS.into_iter().find(|way| fields.contains_key(*way));
            let hint = match way {
                Some(way) => format!(
                    "it has `{way}`, which ecsnet does not follow: `aws configure export-credentials --profile {profile}` \
                     gives keys to write into a profile"
                ),
                None => format!("`aws configure --profile {profile}` writes both keys"),
            };
            Err(ProfileError {
                message: format!("the profile `{profile}` of `{}` has no `{missing}`", file.display()),
                hint,
            })
        }
    }
}

fn file(set: &impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let filled = |name: &str| set(name).filter(|value| !value.is_empty());
    let home = || filled("HOME").map(PathBuf::from);
    match filled("AWS_SHARED_CREDENTIALS_FILE") {
        Some(path) => match path.strip_prefix("~/") {
            Some(rest) => Some(home()?.join(rest)),
            None => Some(PathBuf::from(path)),
        },
        None => Some(home()?.join(".aws/credentials")),
    }
}

/// Every profile with its fields. A later field of a name stands, as does a later profile's; lines that are indented
/// belong to a field that is none of ours.
fn parse(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut profiles: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in text.strip_prefix('\u{feff}').unwrap_or(text).lines() {
        if line.starts_with(['#', ';']) || line.trim().is_empty() || line.starts_with([' ', '\t']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name.trim()) {
            profiles.entry(name.to_owned()).or_default();
            current = Some(name.to_owned());
        } else if let (Some((name, value)), Some(profile)) = (line.split_once('='), &current) {
            let fields = profiles.entry(profile.clone()).or_default();
            fields.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    profiles
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;

    const FILE: &str = "# mine\n[default]\naws_access_key_id = AKIDEFAULT\naws_secret_access_key = s3cret/with=signs\n\n\
        [work]\r\nAWS_ACCESS_KEY_ID=ASIAWORK\r\naws_secret_access_key=work\r\naws_session_token = a==\r\ns3 =\r\n  max_concurrent_requests = 20\r\n\
        [assumed]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = default\n[half]\naws_access_key_id = AKIHALF\n";

    fn environment(home: &Path) -> impl Fn(&str) -> Option<String> {
        move |name| (name == "HOME").then(|| home.display().to_string())
    }

    fn home() -> TempDir {
        let home = TempDir::new().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/credentials"), FILE).unwrap();
        home
    }

    fn revealed(keys: &Keys) -> [&str; 3] {
        [&keys.access_key_id, keys.secret_access_key.reveal(), keys.token.reveal()]
    }

    #[test]
    fn a_profile_s_keys_are_read_from_the_home_directory() {
        let home = home();
        let of = |profile| keys(profile, environment(home.path())).unwrap();
        assert_eq!(revealed(&of("default")), ["AKIDEFAULT", "s3cret/with=signs", ""]);
        assert_eq!(revealed(&of("work")), ["ASIAWORK", "work", "a=="]);
        assert_eq!(of("work").expiration, None);
        assert!(!format!("{:?}", of("default")).contains("s3cret"));
    }

    #[test]
    fn the_variable_names_another_file() {
        let home = home();
        std::fs::write(home.path().join("other"), "[p]\naws_access_key_id=A\naws_secret_access_key=B\n").unwrap();
        for path in [home.path().join("other").display().to_string(), "~/other".to_owned()] {
            let set = |name: &str| match name {
                "AWS_SHARED_CREDENTIALS_FILE" => Some(path.clone()),
                "HOME" => Some(home.path().display().to_string()),
                _ => None,
            };
            assert_eq!(revealed(&keys("p", set).unwrap()), ["A", "B", ""], "{path}");
        }
    }

    #[test]
    fn what_gives_no_keys_is_told() {
        let home = home();
        let told = |profile| {
            let error = keys(profile, environment(home.path())).unwrap_err();
            let home = home.path().display().to_string();
            (error.message.replace(&home, "~"), error.hint)
        };
        let words = |message: &str, hint: &str| (message.to_owned(), hint.to_owned());
        assert_eq!(
            told("nope"),
            words("`~/.aws/credentials` has no profile `nope`", "it has assumed, default, half, work")
        );
        assert_eq!(
            told("assumed"),
            words(
                "the profile `assumed` of `~/.aws/credentials` has no `aws_access_key_id`",
                "it has `role_arn`, which ecsnet does not follow: `aws configure export-credentials --profile assumed` \
                 gives keys to write into a profile"
            )
        );
        assert_eq!(
            told("half"),
            words(
                "the profile `half` of `~/.aws/credentials` has no `aws_secret_access_key`",
                "`aws configure --profile half` writes both keys"
            )
        );
        let nowhere = TempDir::new().unwrap();
        let error = keys("p", environment(nowhere.path())).unwrap_err();
        assert!(error.message.ends_with("there is no such file"), "{error:?}");
        assert!(keys("p", |_| None).unwrap_err().message.contains("no home directory"));
    }
}
