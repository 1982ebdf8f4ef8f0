//! Stories of published snapshots: who publishes and vouches, and who opens from what was vouched for.
#[cfg(test)]
mod compaction;
#[cfg(test)]
mod floors;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod long;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod pruning;
#[cfg(test)]
mod publishing;
#[cfg(test)]
mod removal;
#[cfg(test)]
mod support;
