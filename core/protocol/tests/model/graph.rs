//! The voiding of concurrent acts, by definition and without any cleverness: the same for a user's
//! devices and for the records of a workspace.
//!
//! Invariant: deeds stand in topological order and are named by their place; sets are bit masks.

/// A set of places.
pub type Set = u128;

pub fn has(set: Set, at: usize) -> bool {
    set >> at & 1 == 1
}

pub fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..128).filter(move |at| has(set, *at))
}

/// What voiding needs to know of one act.
pub struct Deed<T> {
    pub at: usize,
    pub rank: u8,
    /// Whoever signs, and what is made use of.
    pub by: Vec<T>,
    pub needs: u8,
    /// Whom or what it removes, and what it leaves them.
    pub hits: Vec<(T, u8)>,
    pub rests: Vec<usize>,
}

/// Returns the places that do not count. `anc` gives the strict ancestors of a place.
pub fn voids<T: PartialEq>(deeds: &[Deed<T>], anc: &[Set], forced: Set) -> Set {
    let apart = |a: usize, b: usize| a != b && !has(anc[a], b) && !has(anc[b], a);
    let close = |mut void: Set| {
        loop {
            let before = void;
            for deed in deeds {
                if deed.rests.iter().any(|support| has(void, *support)) {
                    void |= 1 << deed.at;
                }
            }
            if void == before {
                return void;
            }
        }
    };
    let struck = |by: &Deed<T>| {
        let mut set: Set = 0;
        for deed in deeds {
            let stands = !deed.hits.is_empty() && deed.rank >= by.rank;
            let aimed = by.hits.iter().any(|(target, floor)| deed.by.contains(target) && *floor < deed.needs);
            if apart(by.at, deed.at) && !stands && aimed {
                set |= 1 << deed.at;
            }
        }
        set
    };
    let mut void = close(forced);
    for rank in (0..=u8::MAX).rev() {
        let here = deeds.iter().filter(|deed| !deed.hits.is_empty() && deed.rank == rank);
        let mut applied: Vec<&Deed<T>> = here.filter(|deed| !has(void, deed.at)).collect();
        loop {
            let now = close(applied.iter().fold(void, |set, deed| set | struck(deed)));
            match applied.iter().position(|deed| has(now, deed.at)) {
                Some(groundless) => void |= 1 << applied.remove(groundless).at,
                None => {
                    void = now;
                    break;
                }
            }
        }
    }
    void
}
