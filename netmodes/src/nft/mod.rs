//! nftables without the `nft` process: a table as a value, the difference of two, and the messages that make it so.
//!
//! [`crate::security::ruleset::table`] says what should stand in a VPC's namespace, [`diff()`] what has to change, a
//! [`Transaction`] is that change (it prints as nft text), and [`Filter`] alone talks to the kernel. The vocabulary is
//! ours and closed: [`Statement`] has what security groups need and no more, and what the kernel holds beyond it reads
//! back as [`Statement::Unknown`], equals nothing that is wanted, and so is repaired.

mod attribute;
mod decode;
mod diff;
mod encode;
mod expression;
mod filter;
mod object;
mod run;
mod text;
mod transaction;

pub use diff::diff;
pub use filter::{Count, Dropped, Filter};
pub use object::{
    Base, Chain, ChainKind, DataType, Datum, Direction, Element, Family, Field, Hook, Key, LOGGED_BYTES, LinkName,
    Mapped, MapsTo, Name, Policy, Rule, Set, Shape, Side, State, Statement, TABLE, Table, Transport, Verdict,
};
pub(crate) use run::InForce;
pub use run::NftError;
pub use transaction::{Change, Transaction};
