//! The two kinds of workers that a planner scales.

use std::fmt;

/// What a pool of workers does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Computes prompts.
    Prefill,
    /// Generates tokens; computes prompts, too, where there are no prefill workers.
    Decode,
}

/// One value for each role.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerRole<T> {
    /// That of the prefill workers.
    pub prefill: T,
    /// That of the decode workers.
    pub decode: T,
}

impl Role {
    /// All roles, in the order in which a request meets them.
    pub const ALL: [Self; 2] = [Self::Prefill, Self::Decode];

    /// Its name in flags, labels and keys.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl<T> PerRole<T> {
    /// What `value` is for each role.
    pub fn of(mut value: impl FnMut(Role) -> T) -> Self {
        Self {
            prefill: value(Role::Prefill),
            decode: value(Role::Decode),
        }
    }

    /// That of one role.
    pub const fn get(&self, role: Role) -> &T {
        match role {
            Role::Prefill => &self.prefill,
            Role::Decode => &self.decode,
        }
    }

    /// That of one role.
    pub const fn get_mut(&mut self, role: Role) -> &mut T {
        match role {
            Role::Prefill => &mut self.prefill,
            Role::Decode => &mut self.decode,
        }
    }
}
