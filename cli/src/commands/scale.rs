//! `ecsnet scale`: UpdateService with another desiredCount.

use ::agent::control::api::ScaleRequest;
use clap::Args;

use super::Global;
use crate::failure::Failure;
use crate::{render, start_agent};

/// Set how many tasks services should have
#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// A service or STACK/SERVICE, and how many; all are done or none
    #[arg(value_name = "SERVICE=N", required = true, value_parser = count)]
    counts: Vec<(String, u32)>,
}

impl Scale {
    pub(crate) async fn run(self, global: &Global) -> Result<u8, Failure> {
        let Some(client) = start_agent::connect_to_existing(global).await? else {
            return Err(Failure::input("there is no stack, so there is no service to scale"));
        };
        client.post::<()>("/scale", &[], &ScaleRequest { counts: self.counts.clone() }).await?;
        for (service, count) in &self.counts {
            render::say(format_args!("service {service}: desiredCount {count}"));
        }
        Ok(0)
    }
}

fn count(text: &str) -> Result<(String, u32), String> {
    let (service, count) =
        text.split_once('=').filter(|(service, _)| !service.is_empty()).ok_or("expected SERVICE=N, as in web=3")?;
    let count = count.parse().map_err(|_| format!("`{count}` is not a number of tasks"))?;
    Ok((service.to_owned(), count))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_count_follows_its_service() {
        assert_eq!(super::count("shop/web=3"), Ok(("shop/web".to_owned(), 3)));
        assert_eq!(super::count("web"), Err("expected SERVICE=N, as in web=3".to_owned()));
        assert_eq!(super::count("web=-1"), Err("`-1` is not a number of tasks".to_owned()));
    }
}
