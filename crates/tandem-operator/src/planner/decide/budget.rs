//! Sharing GPUs between the roles.

use super::{Policy, Reason, RoleDecision};
use crate::planner::role::{PerRole, Role};

/// A role that asks for GPUs.
#[derive(Debug, Clone, Copy)]
struct Claim {
    role: Role,
    gpus: u64,
    /// Workers that it gets in any case.
    floor: u64,
    /// Workers beyond these that it asks for.
    more: u64,
}

/// Takes workers away until all fit into the budget. Each role keeps its fewest, even where these
/// do not fit; what is left is shared in proportion to what the roles ask for. A role that is not
/// to change for want of data keeps what it has.
pub(super) fn fit(roles: &mut PerRole<Option<RoleDecision>>, policy: &Policy) {
    let Some(budget) = policy.gpu_budget else {
        return;
    };
    let mut claims = Vec::new();
    for (role, limits) in policy.planned() {
        let Some(decision) = roles.get(role) else {
            continue;
        };
        let Some(target) = decision.target else {
            continue;
        };
        let unknown = matches!(decision.reasons.first(), Some(Reason::NoData { .. }));
        let floor = if unknown {
            target
        } else {
            limits.min.min(target)
        };
        claims.push(Claim {
            role,
            gpus: limits.gpus.max(1).into(),
            floor: floor.into(),
            more: u64::from(target - floor),
        });
    }
    let floors: u64 = claims.iter().map(|claim| claim.floor * claim.gpus).sum();
    let asked: u64 = claims.iter().map(|claim| claim.more * claim.gpus).sum();
    let free = u64::from(budget).saturating_sub(floors);
    if asked <= free {
        return;
    }
    let mut left = free;
    let mut shares = Vec::new();
    for claim in &claims {
        let share = u128::from(claim.more) * u128::from(free) / u128::from(asked);
        let share = u64::try_from(share).unwrap_or(claim.more);
        left -= share * claim.gpus;
        shares.push(share);
    }
    // Rounding down leaves some; whoever got the smallest part of what it asked for comes first.
    loop {
        let short = claims
            .iter()
            .enumerate()
            .filter(|(index, claim)| claim.gpus <= left && shares[*index] < claim.more);
        let next = short.min_by(|(one, first), (other, second)| {
            let parts = (shares[*one] * second.more, shares[*other] * first.more);
            parts.0.cmp(&parts.1)
        });
        let Some((index, claim)) = next else {
            break;
        };
        shares[index] += 1;
        left -= claim.gpus;
    }
    for (claim, share) in claims.iter().zip(shares) {
        let granted = u32::try_from(claim.floor + share).unwrap_or(u32::MAX);
        if let Some(decision) = roles.get_mut(claim.role).as_mut()
            && decision.target != Some(granted)
        {
            decision.target = Some(granted);
            decision.reasons.push(Reason::Budget { gpus: budget });
        }
    }
}
