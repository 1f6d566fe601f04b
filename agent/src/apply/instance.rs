//! The netns of container instances by the name of their holder: opened once, as those of VPCs are ([`super::network`]).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use netmodes::bridge::{ObservedInstance, PublishedPort};
use netmodes::instance_network::InstanceNetwork;

use super::{ApplyError, Networks};
use crate::observe::HolderId;
use crate::spec::task_definition::TransportProtocol;

/// Open netns of instances. It pins them: whoever removes a holder has it forgotten here first.
#[derive(Default)]
pub struct Instances {
    open: Mutex<HashMap<String, Arc<OpenInstance>>>,
}

/// An open instance.
pub struct OpenInstance {
    /// Whose netns it is.
    pub holder: HolderId,
    /// What is in it.
    pub network: InstanceNetwork,
    /// The ports that were published here last; unknown before the first time.
    published: Mutex<Option<BTreeSet<PublishedPort>>>,
}

impl OpenInstance {
    /// Has exactly `ports` lead to containers, but for those that another process of the instance has bound: these come back
    /// beside what is published.
    pub async fn publish(
        &self,
        mut ports: BTreeSet<PublishedPort>,
    ) -> Result<(BTreeSet<PublishedPort>, Vec<(TransportProtocol, u16)>), ApplyError> {
        let known = self.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let there = match known {
            Some(ports) => ports,
            None => self.network.observe().await?.ports,
        };
        let fresh: Vec<_> = ports.difference(&there).map(|port| (port.protocol, port.host_port)).collect();
        let busy = self.network.unavailable_ports(&fresh)?;
        ports.retain(|port| !busy.contains(&(port.protocol, port.host_port)));
        self.network.ensure_ports(&ports)?;
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = Some(ports.clone());
        Ok((ports, busy.into_iter().map(|(protocol, port)| (protocol.into(), port)).collect()))
    }

    /// Reads it back from the kernel.
    pub async fn look(&self) -> Result<ObservedInstance, ApplyError> {
        let seen = self.network.observe().await?;
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(seen)
    }
}

impl Instances {
    /// The netns that the container holds now.
    ///
    /// # Errors
    /// When the container does not run, or its netns cannot be entered.
    pub async fn open(&self, networks: &Networks, holder: &str) -> Result<Arc<OpenInstance>, ApplyError> {
        let (id, _) = networks.running(holder).await?;
        let known = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(holder).cloned();
        if let Some(open) = known.filter(|open| open.holder == id) {
            return Ok(open);
        }
        let (holder_id, netns) = networks.netns_of(holder).await?;
        let network = InstanceNetwork::open(netns).await?;
        let fresh = Arc::new(OpenInstance { holder: holder_id, network, published: Mutex::default() });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Two steps may have opened it at once: one of the two stays.
        let kept = open.entry(holder.to_owned()).or_insert_with(|| Arc::clone(&fresh));
        if kept.holder != fresh.holder {
            *kept = Arc::clone(&fresh);
        }
        Ok(Arc::clone(kept))
    }

    /// Closes the netns of a holder: an open socket would keep it alive.
    pub fn forget(&self, holder: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(holder);
    }
}
