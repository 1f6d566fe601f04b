//! Namespaces by the name of their holder: opened once, and never trusted across a change of holder (pitfall 10).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use netmodes::kernel::netns::Netns;
use netmodes::network::VpcNetwork;
use netmodes::nft::{Filter, NftError};
use netmodes::observe::ObservedVpc;
use netmodes::security::group::Ruleset;

use super::ApplyError;
use crate::observe::HolderId;
use crate::runtime::Docker;

/// The VPC namespaces that are open.
pub struct Networks {
    docker: Docker,
    open: Mutex<HashMap<String, Arc<OpenVpc>>>,
}

/// An open VPC namespace: its links and its filter.
pub struct OpenVpc {
    /// Whose namespace it is.
    pub holder: HolderId,
    /// Links, addresses, routes.
    pub links: VpcNetwork,
    filter: Mutex<Filter>,
}

/// What a look into a VPC's namespace saw.
#[derive(Debug)]
pub struct NetworkLook {
    /// Whose namespace it is.
    pub holder: HolderId,
    /// Links, addresses, routes.
    pub vpc: ObservedVpc,
    /// The table that is in force.
    pub table: netmodes::nft::Table,
}

impl OpenVpc {
    /// Brings the filter to `ruleset`, by what differs.
    pub fn ensure_filter(&self, ruleset: &Ruleset) -> Result<(), NftError> {
        let mut filter = self.filter.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = filter.ensure(ruleset)?;
        if !transaction.is_empty() {
            tracing::debug!(%transaction, "filter changed");
        }
        Ok(())
    }

    /// Packets that were dropped, by link.
    pub fn dropped(
        &self,
    ) -> Result<std::collections::BTreeMap<netmodes::nft::LinkName, netmodes::nft::Dropped>, NftError> {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner).counters()
    }

    /// Reads everything back from the kernel.
    pub async fn look(&self) -> Result<NetworkLook, ApplyError> {
        let vpc = self.links.observe().await?;
        let table = self.filter.lock().unwrap_or_else(PoisonError::into_inner).observe()?;
        Ok(NetworkLook { holder: self.holder.clone(), vpc, table })
    }
}

impl Networks {
    /// None open yet.
    pub fn new(docker: Docker) -> Self {
        Self { docker, open: Mutex::default() }
    }

    /// The namespace that the container holds now.
    ///
    /// # Errors
    /// When the container does not run, or its namespace cannot be entered.
    pub async fn open(&self, holder: &str) -> Result<Arc<OpenVpc>, ApplyError> {
        let (id, _) = self.running(holder).await?;
        let known = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(holder).cloned();
        if let Some(network) = known.filter(|network| network.holder == id) {
            return Ok(network);
        }
        let (id, netns) = self.netns_of(holder).await?;
        let filter = Mutex::new(Filter::open(&netns)?);
        let network = Arc::new(OpenVpc { holder: id, links: VpcNetwork::open(netns)?, filter });
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Two steps may have opened it at once: one of the two stays.
        let kept = open.entry(holder.to_owned()).or_insert_with(|| Arc::clone(&network));
        if kept.holder != network.holder {
            *kept = Arc::clone(&network);
        }
        Ok(Arc::clone(kept))
    }

    /// Closes the namespace of a holder: an open socket would keep it alive.
    pub fn forget(&self, holder: &str) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(holder);
    }

    /// A container's identity and process.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn running(&self, name: &str) -> Result<(HolderId, i32), ApplyError> {
        let container = self.docker.inspect(name).await?;
        match container.as_ref().map(|c| (HolderId::of(c), c.state.pid())) {
            Some((id, Some(pid))) => Ok((id, pid)),
            _ => Err(ApplyError::NoHolder { name: name.to_owned() }),
        }
    }

    /// The namespace of a running container.
    ///
    /// # Errors
    /// When it does not run, or another run of it took its place while it was opened.
    pub async fn netns_of(&self, name: &str) -> Result<(HolderId, Netns), ApplyError> {
        let (id, pid) = self.running(name).await?;
        let netns = Netns::of_process(pid)?;
        // The process may have ended in between and its number been given to another: look once more.
        if self.running(name).await? != (id.clone(), pid) {
            return Err(ApplyError::NoHolder { name: name.to_owned() });
        }
        Ok((id, netns))
    }
}
