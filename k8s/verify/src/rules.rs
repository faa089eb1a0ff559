//! The families of rules. Each looks at the whole world and adds what is wrong in it.

pub mod head;

use crate::failure::Failure;
use crate::world::World;

/// One family: what is judged enters, failures leave.
pub type Check = fn(&World, &mut Vec<Failure>);

/// All of them, by name.
pub const FAMILIES: &[(&str, Check)] = &[("head", head::check)];
