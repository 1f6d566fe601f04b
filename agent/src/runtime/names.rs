//! Names of containers in Docker: a function of what the container is, with its inverse.
//!
//! A repeated create meets "name in use" and adopts. All names of the default owner begin with `ecsnet-<stack>-`;
//! another owner's with `ecsnet.<8 hex of the owner's hash>-<stack>-`, so two agents on one machine may have stacks
//! of the same name. A stack's name has no dot, so the first dot after it begins what users and AWS named freely,
//! and no two containers share a name. Pure.

use std::fmt;

use netmodes::ids::EniId;
use sha2::{Digest, Sha256};

/// The owner whose names carry no mark.
pub const DEFAULT_OWNER: &str = "default";

/// Which container of a stack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Holder of the VPC's namespace: `vpc`.
    Vpc,
    /// DNS and metadata front: `resolver`.
    Resolver,
    /// Holder of a namespace that was made with its ENI, before any task took it: `pause-<17 hex>`.
    EniPause(EniId),
    /// Holder of a task's namespace: `pause-<task id>`.
    TaskPause(TaskDigits),
    /// Holder of one container's namespace in bridge mode: `pause-<task id>.<container>`.
    ContainerPause(TaskDigits, String),
    /// A container of a task: `<task id>.<container>`.
    App(TaskDigits, String),
    /// A task's Envoy: `envoy-<task id>`.
    Envoy(TaskDigits),
    /// Holder of a container instance's namespace: `instance.<id>`.
    Instance(String),
    /// Answers at 169.254.170.2 in a container instance's netns: `front.<id>`.
    Front(String),
    /// A load balancer's node: `lb.<load balancer>.<zone>`.
    LbNode(String, String),
    /// A command for a user: `helper-<32 hex>`.
    Helper(TaskDigits),
}

/// 32 lower-case hex digits: the id of a task, as it ends its ARN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskDigits(String);

impl TaskDigits {
    /// Accepts 32 lower-case hex digits and nothing else.
    pub fn new(text: &str) -> Option<Self> {
        let fits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        fits.then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A container's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerName {
    /// Short form of the owner; `None` for the default one.
    pub owner_mark: Option<String>,
    /// The stack; letters, digits, `-` and `_`.
    pub stack: String,
    /// Which container of it.
    pub part: Part,
}

impl ContainerName {
    /// The name of an owner's container.
    pub fn new(owner: &str, stack: &str, part: Part) -> Self {
        Self { owner_mark: owner_mark(owner), stack: stack.to_owned(), part }
    }

    /// The inverse of printing; `None` for a name that is not of this form.
    pub fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("ecsnet")?;
        let (owner_mark, rest) = match rest.strip_prefix('.') {
            None => (None, rest.strip_prefix('-')?),
            Some(rest) => {
                let (mark, rest) = rest.split_once('-')?;
                let is_mark = mark.len() == 8 && mark.bytes().all(|b| b.is_ascii_hexdigit());
                (is_mark.then(|| Some(mark.to_owned()))?, rest)
            }
        };
        let (stack, part) = match rest.split_once('.') {
            None => parse_fixed(rest)?,
            Some((left, free)) => parse_free(left, free)?,
        };
        let has_name = !stack.is_empty();
        has_name.then(|| Self { owner_mark, stack: stack.to_owned(), part })
    }
}

/// Names without a dot end in a word or in hex digits.
fn parse_fixed(text: &str) -> Option<(&str, Part)> {
    let (left, last) = text.rsplit_once('-')?;
    match last {
        "vpc" => return Some((left, Part::Vpc)),
        "resolver" => return Some((left, Part::Resolver)),
        _ => {}
    }
    let (stack, word) = left.rsplit_once('-')?;
    let part = match (word, TaskDigits::new(last)) {
        ("pause", Some(task)) => Part::TaskPause(task),
        ("pause", None) => Part::EniPause(format!("{}{last}", EniId::PREFIX).parse().ok()?),
        ("envoy", Some(task)) => Part::Envoy(task),
        ("helper", Some(id)) => Part::Helper(id),
        _ => return None,
    };
    Some((stack, part))
}

/// Names with a dot: the free text after it may hold anything.
fn parse_free<'a>(left: &'a str, free: &str) -> Option<(&'a str, Part)> {
    let (stack, last) = left.rsplit_once('-')?;
    if free.is_empty() {
        return None;
    }
    match last {
        "instance" => return Some((stack, Part::Instance(free.to_owned()))),
        "front" => return Some((stack, Part::Front(free.to_owned()))),
        "lb" => {
            let (balancer, zone) = free.split_once('.')?;
            return Some((stack, Part::LbNode(balancer.to_owned(), zone.to_owned())));
        }
        _ => {}
    }
    let task = TaskDigits::new(last)?;
    // A stack whose own name ends in `-pause` is not allowed to hide here: see `stack_name_fits`.
    Some(match stack.strip_suffix("-pause") {
        Some(stack) => (stack, Part::ContainerPause(task, free.to_owned())),
        None => (stack, Part::App(task, free.to_owned())),
    })
}

/// Whether a stack's name can stand in names of containers: letters, digits, `-`, `_`, beginning with a letter or
/// digit, and not ending in `-pause`, `-envoy` or `-helper`, which would read as another stack's containers.
pub fn stack_name_fits(stack: &str) -> bool {
    let first = stack.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let all = stack.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let word = ["-pause", "-envoy", "-helper"].iter().any(|word| stack.ends_with(word));
    first && all && !word
}

/// Eight hex digits that stand for an owner in names; `None` for the default one.
pub fn owner_mark(owner: &str) -> Option<String> {
    if owner == DEFAULT_OWNER {
        return None;
    }
    Some(Sha256::digest(owner.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect())
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ecsnet")?;
        if let Some(mark) = &self.owner_mark {
            write!(f, ".{mark}")?;
        }
        write!(f, "-{}-", self.stack)?;
        match &self.part {
            Part::Vpc => f.write_str("vpc"),
            Part::Resolver => f.write_str("resolver"),
            Part::EniPause(eni) => write!(f, "pause-{}", eni.digits()),
            Part::TaskPause(task) => write!(f, "pause-{}", task.0),
            Part::ContainerPause(task, container) => write!(f, "pause-{}.{container}", task.0),
            Part::App(task, container) => write!(f, "{}.{container}", task.0),
            Part::Envoy(task) => write!(f, "envoy-{}", task.0),
            Part::Instance(id) => write!(f, "instance.{id}"),
            Part::Front(id) => write!(f, "front.{id}"),
            Part::LbNode(balancer, zone) => write!(f, "lb.{balancer}.{zone}"),
            Part::Helper(id) => write!(f, "helper-{}", id.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Vec<Part> {
        let task = TaskDigits::new("0123456789abcdef0123456789abcdef").unwrap();
        vec![
            Part::Vpc,
            Part::Resolver,
            Part::EniPause(EniId::from_bits(0xabc)),
            Part::TaskPause(task.clone()),
            Part::ContainerPause(task.clone(), "x-vpc".to_owned()),
            Part::App(task.clone(), "web_1-resolver".to_owned()),
            Part::Envoy(task.clone()),
            Part::Instance("i-0abc".to_owned()),
            Part::Front("i-0abc".to_owned()),
            Part::LbNode("web-vpc".to_owned(), "local-1a".to_owned()),
            Part::Helper(task),
        ]
    }

    #[test]
    fn names_read_back_and_never_meet() {
        let mut seen = std::collections::HashSet::new();
        for owner in [DEFAULT_OWNER, "test-1", "test-2"] {
            for stack in ["shop", "shop-vpc", "shop-lb", "a-instance", "pause", "b-resolver-x", "shop-pause-x"] {
                assert!(stack_name_fits(stack));
                for part in parts() {
                    let name = ContainerName::new(owner, stack, part);
                    let text = name.to_string();
                    assert_eq!(ContainerName::parse(&text), Some(name), "{text}");
                    assert!(seen.insert(text));
                }
            }
        }
    }

    #[test]
    fn the_default_owner_s_names_begin_with_the_stack() {
        let name = ContainerName::new(DEFAULT_OWNER, "shop", Part::Vpc);
        assert_eq!(name.to_string(), "ecsnet-shop-vpc");
        assert!(ContainerName::new("other", "shop", Part::Vpc).to_string().starts_with("ecsnet."));
    }

    #[rstest::rstest]
    #[case("")]
    #[case("nginx")]
    #[case("ecsnet-vpc")]
    #[case("ecsnet--vpc")]
    #[case("ecsnet-shop-pause-123")]
    #[case("ecsnet-shop-lb.web")]
    #[case("ecsnet.zz-shop-vpc")]
    fn what_is_no_name_of_ours_is_nothing(#[case] name: &str) {
        assert_eq!(ContainerName::parse(name), None);
    }

    proptest::proptest! {
        #[test]
        fn no_name_makes_it_panic(name in ".{0,80}") {
            let _ = ContainerName::parse(&name);
            let _ = ContainerName::parse(&format!("ecsnet-{name}"));
        }
    }
}
