//! What the command line says, and what is wrong with it.

use std::collections::BTreeSet;
use std::time::Duration;

use tombolo_tests::world::{Fault, Recipe, Scenario};

/// Plays teams of devices, users and relays through bad days, each decided by a seed, and judges what is left.
///
/// A seed is one history: the same seed gives the same trace hash. What fails is shrunk, and printed with the one
/// command that plays it again.
#[derive(clap::Parser, Debug)]
#[command(name = "simulate", after_help = AFTER)]
pub(crate) struct Options {
    /// How many seeds to play.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Ends after so many minutes, whatever is left.
    #[arg(long)]
    minutes: Option<u64>,
    /// Which classes of faults there are: swarm, calm, network, relays, devices, people, harm, snapshots,
    /// partial.
    #[arg(long, default_value = "swarm")]
    scenario: String,
    /// Histories at a time.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Classes that are left out, with commas between.
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// Devices in the cast, at most.
    #[arg(long)]
    devices: Option<usize>,
    /// The deeds that are kept, by their numbers, with commas between; `none` for none.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How long a failing history is shrunk, in seconds.
    #[arg(long, default_value_t = 60)]
    shrink_seconds: u64,
    /// Plants a bug into the product, to see that it is caught: needs the feature `planted-bugs`.
    #[arg(long)]
    planted: Option<String>,
    /// Plants a bug, or `all` one after the other, and looks for a seed that breaks with it and is sound without.
    #[arg(long)]
    catch: Option<String>,
    /// Ends at the first history that fails.
    #[arg(long)]
    first: bool,
    /// Prints every seed with its trace hash.
    #[arg(long)]
    verbose: bool,
}

const AFTER: &str = "\
EXAMPLES
  simulate --seeds 2000                     what CI asks
  simulate --seeds 1 --from 4711 --verbose  one seed, with its hash
  simulate --minutes 30 --from 100000       as many as fit
  simulate --scenario relays --seeds 500    only what befalls relays
  simulate --catch all --seeds 50           each planted bug must be caught by one of 50 seeds

ENDS with 0 if nothing was broken and, over 200 seeds or more of the swarm, everything that can befall a team did;
with 1 otherwise; with 2 if the command line is wrong.";

/// What is to be done.
pub(crate) struct Plan {
    pub(crate) template: Recipe,
    pub(crate) seeds: u64,
    pub(crate) until: Option<Duration>,
    pub(crate) threads: usize,
    pub(crate) shrink: Duration,
    pub(crate) planted: Option<String>,
    pub(crate) catch: Option<String>,
    pub(crate) first: bool,
    pub(crate) verbose: bool,
}

impl Options {
    /// Turns the words into a plan.
    ///
    /// # Errors
    /// A sentence for the person at the terminal.
    pub(crate) fn judge(self) -> Result<Plan, String> {
        let known = Scenario::ALL.iter().find(|(name, _)| *name == self.scenario);
        let (_, scenario) = known.ok_or_else(|| format!("there is no scenario `{}`; see --help", self.scenario))?;
        let mut template = Recipe::new(self.from, *scenario);
        for name in &self.without {
            let fault =
                Fault::named(name).ok_or_else(|| format!("there is no class `{name}`; the last table names all"))?;
            template.without.insert(fault);
        }
        if let Some(devices) = self.devices {
            template.devices_max = devices.clamp(2, template.devices_max);
        }
        if !self.only.is_empty() {
            let numbers = self.only.iter().filter(|number| *number != "none").map(|number| number.parse());
            let only: Result<BTreeSet<usize>, _> = numbers.collect();
            template.only = Some(only.map_err(|_| "--only takes numbers with commas between".to_owned())?);
        }
        Ok(Plan {
            template,
            seeds: self.seeds,
            until: self.minutes.map(|minutes| Duration::from_secs(60 * minutes)),
            threads: self.threads.clamp(1, 64),
            shrink: Duration::from_secs(self.shrink_seconds),
            planted: self.planted,
            catch: self.catch,
            first: self.first,
            verbose: self.verbose,
        })
    }
}
