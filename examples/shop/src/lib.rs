//! The shop: four tiny HTTP services in one static binary, made to show the network that they run in.
//!
//! `web` asks `orders`, `orders` asks `users` and the `stock` container beside it, and every answer says which addresses the
//! request passed. Each request looks its upstream up anew, opens one connection and closes it: what one sees is what
//! discovery alone gives, so there is no retry, no pool and no cache here that could hide a refused or a lost task.
//!
//! `main.rs` → [`arguments`] → [`server`] (the roles) → [`client`] (one request) → [`resolve`] (A records, else SRV);
//! [`hop`] is what travels back. Nothing here knows ecsnet: the binary would run in AWS as it is.

pub mod arguments;
pub mod client;
pub mod hop;
pub mod resolve;
pub mod server;
