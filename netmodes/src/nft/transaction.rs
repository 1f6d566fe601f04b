//! A change of the table, all or nothing: a list of steps that prints as nft text, one line for each.
//!
//! Pure: [`Transaction::apply_to`] folds it into a table value, [`super::run`] into the kernel's.

use std::fmt;

use super::object::{Base, Chain, Element, Name, Rule, Set, Shape, TABLE, Table};
use super::text::Elements;

/// Steps that take effect together; empty when there is nothing to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// In an order in which nothing is referred to before it exists or after it is gone.
    pub changes: Vec<Change>,
}

/// One step, one line of nft text, one netlink message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Makes the table; harmless when it is there.
    AddTable,
    /// Removes it with all that is in it.
    DeleteTable,
    /// Declares a set.
    AddSet(Name, Shape),
    /// Declares a chain.
    AddChain(Name, Option<Base>),
    /// Removes all rules of a chain.
    FlushChain(Name),
    /// Appends a rule.
    AddRule(Name, Rule),
    /// Takes elements out.
    DeleteElements(Name, Vec<Element>),
    /// Puts elements in.
    AddElements(Name, Vec<Element>),
    /// Removes a chain that nothing refers to.
    DeleteChain(Name),
    /// Removes a set that nothing refers to.
    DeleteSet(Name),
}

impl Transaction {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What the kernel's table becomes by it. A step about something that is not there changes nothing.
    pub fn apply_to(&self, table: &mut Table) {
        for change in &self.changes {
            change.apply_to(table);
        }
    }
}

impl Change {
    fn apply_to(&self, table: &mut Table) {
        match self {
            Self::AddTable => {}
            Self::DeleteTable => *table = Table::default(),
            Self::AddSet(name, shape) => {
                table.sets.insert(name.clone(), Set { shape: *shape, elements: Default::default() });
            }
            Self::AddChain(name, base) => {
                table.chains.insert(name.clone(), Chain { base: *base, rules: Vec::new() });
            }
            Self::FlushChain(name) => {
                if let Some(chain) = table.chains.get_mut(name) {
                    chain.rules.clear();
                }
            }
            Self::AddRule(name, rule) => {
                if let Some(chain) = table.chains.get_mut(name) {
                    chain.rules.push(rule.clone());
                }
            }
            Self::DeleteElements(name, elements) => {
                if let Some(set) = table.sets.get_mut(name) {
                    for (key, _) in elements {
                        set.elements.remove(key);
                    }
                }
            }
            Self::AddElements(name, elements) => {
                if let Some(set) = table.sets.get_mut(name) {
                    set.elements.extend(elements.iter().cloned());
                }
            }
            Self::DeleteChain(name) => {
                table.chains.remove(name);
            }
            Self::DeleteSet(name) => {
                table.sets.remove(name);
            }
        }
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddTable => write!(f, "add table inet {TABLE}"),
            Self::DeleteTable => write!(f, "delete table inet {TABLE}"),
            Self::AddSet(name, shape) => write!(f, "add {} inet {TABLE} {name} {{ {shape} }}", shape.keyword()),
            Self::AddChain(name, None) => write!(f, "add chain inet {TABLE} {name}"),
            Self::AddChain(name, Some(base)) => write!(f, "add chain inet {TABLE} {name} {{ {base} }}"),
            Self::FlushChain(name) => write!(f, "flush chain inet {TABLE} {name}"),
            Self::AddRule(chain, rule) => write!(f, "add rule inet {TABLE} {chain} {rule}"),
            Self::DeleteElements(set, elements) => {
                write!(f, "delete element inet {TABLE} {set} {{ {} }}", Elements(elements.iter().map(|(k, v)| (k, v))))
            }
            Self::AddElements(set, elements) => {
                write!(f, "add element inet {TABLE} {set} {{ {} }}", Elements(elements.iter().map(|(k, v)| (k, v))))
            }
            Self::DeleteChain(name) => write!(f, "delete chain inet {TABLE} {name}"),
            Self::DeleteSet(name) => write!(f, "delete set inet {TABLE} {name}"),
        }
    }
}
