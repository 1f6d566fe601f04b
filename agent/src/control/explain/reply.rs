//! What `ecsnet explain` asks and is answered, shared with the CLI: the shape of EC2's DescribeNetworkInsightsAnalyses, with
//! what AWS has no field for under `ecsnet`.

use std::net::IpAddr;

pub use netmodes::reach::Outcome;
use serde::{Deserialize, Serialize};

/// Would this connection get through?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainRequest {
    /// A TARGET: the task that opens the connection.
    pub from: String,
    /// A TARGET, a DNS name or an address.
    pub to: String,
    /// Left out: every port that the task definition of `to` maps.
    pub port: Option<u16>,
    /// Left out: as the port is mapped, else TCP.
    pub protocol: Option<Protocol>,
}

/// Protocols that a connection can be tried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP echo.
    Icmp,
}

impl Protocol {
    /// As the stack file spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

/// The answer: one analysis for each task and port that `to` stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanations {
    /// At least one.
    #[serde(rename = "NetworkInsightsAnalyses")]
    pub analyses: Vec<Analysis>,
    /// What AWS has no field for.
    pub ecsnet: Summary,
}

/// What concerns all analyses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Whether every one of them gets through and was seen to.
    pub reachable: bool,
    /// What was chosen, and what goes on meanwhile.
    pub notes: Vec<String>,
}

/// One way from a task to an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Analysis {
    /// Whether nothing stands in the way.
    pub network_path_found: bool,
    /// What does.
    pub explanations: Vec<Explanation>,
    /// Each step in words, and the probe.
    #[serde(rename = "ecsnet")]
    pub detail: Detail,
}

/// Why a path is not reachable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Explanation {
    /// One of AWS's codes, or one of [`Code`]'s own.
    pub explanation_code: Code,
    /// `egress` or `ingress`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// The security groups whose rules do not let it through.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<Component>,
}

/// A part of the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Component {
    /// Its id.
    pub id: String,
    /// Its name in the stack.
    pub name: String,
}

/// Explanation codes: those of AWS's Reachability Analyzer, and under names in its manner what it does not look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// AWS: this component is not in a functional state.
    BadState,
    /// AWS: the attachment between these components is not in a functional state.
    BadStateAttachment,
    /// AWS: no applicable route to the destination.
    NoRouteToDestination,
    /// AWS: the packet cannot be delivered to any possible destination.
    NoPossibleDestination,
    /// AWS: this component only accepts traffic with specific protocols.
    ProtocolRestriction,
    /// AWS: the security groups have no inbound or outbound rules that apply.
    EniSgRulesMismatch,
    /// AWS: the security groups have no inbound or outbound rules.
    SgHasNoRules,
    /// The port of a container instance leads to no container, or to another one.
    NoPortMapping,
    /// The name has no record.
    NameNotFound,
    /// The resolver does not answer.
    NameNotAnswered,
    /// No socket is on the port.
    NoListener,
    /// A socket is, on loopback alone.
    ListenerOnLoopbackOnly,
    /// A socket is, on another address.
    ListenerOnOtherAddress,
    /// A socket is, whose program accepts nothing.
    ListenerQueueFull,
}

impl Code {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadState => "BAD_STATE",
            Self::BadStateAttachment => "BAD_STATE_ATTACHMENT",
            Self::NoRouteToDestination => "NO_ROUTE_TO_DESTINATION",
            Self::NoPossibleDestination => "NO_POSSIBLE_DESTINATION",
            Self::ProtocolRestriction => "PROTOCOL_RESTRICTION",
            Self::EniSgRulesMismatch => "ENI_SG_RULES_MISMATCH",
            Self::SgHasNoRules => "SG_HAS_NO_RULES",
            Self::NoPortMapping => "NO_PORT_MAPPING",
            Self::NameNotFound => "NAME_NOT_FOUND",
            Self::NameNotAnswered => "NAME_NOT_ANSWERED",
            Self::NoListener => "NO_LISTENER",
            Self::ListenerOnLoopbackOnly => "LISTENER_ON_LOOPBACK_ONLY",
            Self::ListenerOnOtherAddress => "LISTENER_ON_OTHER_ADDRESS",
            Self::ListenerQueueFull => "LISTENER_QUEUE_FULL",
        }
    }
}

/// The steps of an analysis and its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// The sender.
    pub from: EndView,
    /// The receiver.
    pub to: EndView,
    /// Over what.
    pub protocol: Protocol,
    /// Where there are ports.
    pub port: Option<u16>,
    /// In the order in which a packet meets them.
    pub steps: Vec<Step>,
    /// What the analysis says will be seen; none where it cannot say.
    pub foreseen: Option<Outcome>,
    /// What was seen.
    pub probe: Probe,
    /// Whether analysis and probe say different things, in words.
    pub disagreement: Option<String>,
    /// Whether it gets through: what was seen counts, and without it what was foreseen.
    pub reachable: bool,
}

/// One end of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndView {
    /// `STACK/SERVICE` for a task.
    pub service: Option<String>,
    /// The task.
    pub task_id: Option<String>,
    /// The address; none while a name leads nowhere.
    pub address: Option<IpAddr>,
}

/// One thing that is asked of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What is looked at.
    pub about: About,
    /// Whether it lets the packet on; a step that decides nothing has none.
    pub passes: Option<bool>,
    /// Why not.
    pub code: Option<Code>,
    /// What there is, or what is missing.
    pub text: String,
    /// What would have to be added or changed, in the stack file's words.
    pub remedy: Option<String>,
    /// The groups that were asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<Component>,
}

/// What a step looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum About {
    /// From the name to addresses.
    Name,
    /// Whether the sender can send.
    From,
    /// Whether the receiver is there.
    To,
    /// At which port of its instance a container's is reached.
    Port,
    /// Where the router sends it.
    Route,
    /// The sender's rules.
    Egress,
    /// The receiver's rules.
    Ingress,
    /// How a container instance translates it: behind its own address on the way out, from host port to container on the way in.
    Nat,
    /// The socket at the other end.
    Listener,
}

impl About {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::From => "from",
            Self::To => "to",
            Self::Port => "port",
            Self::Route => "route",
            Self::Egress => "egress",
            Self::Ingress => "ingress",
            Self::Nat => "nat",
            Self::Listener => "listener",
        }
    }
}

/// The proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// A flow was opened.
    #[serde(rename_all = "camelCase")]
    Seen {
        /// What became of it.
        outcome: Outcome,
        /// Until that was known.
        microseconds: u64,
    },
    /// None was, and why.
    NotTried {
        /// In words.
        why: String,
    },
}

impl Step {
    /// A step that lets the packet on.
    pub(super) fn passes(about: About, text: impl Into<String>) -> Self {
        Self { about, passes: Some(true), code: None, text: text.into(), remedy: None, security_groups: Vec::new() }
    }

    /// A step that does not.
    pub(super) fn fails(about: About, code: Code, text: impl Into<String>) -> Self {
        Self { passes: Some(false), code: Some(code), ..Self::passes(about, text) }
    }

    /// Something to know that decides nothing.
    pub(super) fn note(about: About, text: impl Into<String>) -> Self {
        Self { passes: None, ..Self::passes(about, text) }
    }

    pub(super) fn with_remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }

    /// The remedy, if it has one, for when `condition` holds.
    pub(super) fn only_if(self, condition: &str) -> Self {
        Self { remedy: self.remedy.map(|remedy| format!("if {condition}: {remedy}")), ..self }
    }
}
