//! The router against simulated workers.

#[cfg(test)]
mod quality;
#[cfg(test)]
mod simulation;
