//! Apps under bad days: a sound one passes, one with a mistake of its own is found, told and played again.
//!
//! `TOMBOLO_SEEDS=2000 cargo test -p tombolo-testkit --test apps` plays the sound one for longer.

use std::time::Duration;

use tombolo::document::{Crdt, EditError, MapEdit, Value};
use tombolo::protocol::ids::DocumentId;
use tombolo_testkit::script::{Recipe, Scenario};
use tombolo_testkit::{App, AppDevice, Chance, Days, Fate, Invariant};

/// Begins the tally, or counts one on.
type Step = fn(&mut MapEdit<'_>) -> Result<(), EditError>;

/// A tally that several people count on.
struct Tally {
    begin: Step,
    count: Step,
    surely: i64,
    perhaps: i64,
}

impl Tally {
    fn of(begin: Step, count: Step) -> impl Fn() -> Self {
        move || Self { begin, count, surely: 0, perhaps: 0 }
    }
}

fn begin_a_counter(edit: &mut MapEdit<'_>) -> Result<(), EditError> {
    edit.counter("tally")?.increment(0)
}

fn begin_nothing(edit: &mut MapEdit<'_>) -> Result<(), EditError> {
    edit.put("made", true)
}

fn as_a_counter(edit: &mut MapEdit<'_>) -> Result<(), EditError> {
    edit.counter("tally")?.increment(1)
}

/// The mistake: what two read at the same time, both write.
fn as_a_number(edit: &mut MapEdit<'_>) -> Result<(), EditError> {
    let before = match edit.get("tally")? {
        Some(Value::I64(before)) => before,
        _ => 0,
    };
    edit.put("tally", before + 1)
}

#[expect(clippy::panic, reason = "what it is about")]
fn fall_over(_: &mut MapEdit<'_>) -> Result<(), EditError> {
    panic!("the app's own code")
}

fn the_document(device: &mut AppDevice<'_>) -> Result<Option<DocumentId>, tombolo::Error> {
    Ok(device.documents()?.first().copied())
}

impl App for Tally {
    fn found(&mut self, device: &mut AppDevice<'_>) -> Result<(), tombolo::Error> {
        device.create(Crdt::Automerge, self.begin)?.done();
        Ok(())
    }

    fn act(&mut self, device: &mut AppDevice<'_>, _: &mut Chance) -> Result<(), tombolo::Error> {
        let Some(document) = the_document(device)? else { return Ok(()) };
        match device.edit(document, self.count)? {
            Fate::Done(()) => self.surely += 1,
            Fate::Died => self.perhaps += 1,
        }
        Ok(())
    }

    fn judge(&mut self, device: &mut AppDevice<'_>) -> Result<(), String> {
        let document = the_document(device).map_err(|error| error.to_string())?.ok_or("it has no document")?;
        let read = device.read(document, |view| view.get("tally")).map_err(|error| error.to_string())?;
        let shown = match read.done().flatten() {
            Some(Value::Counter(shown) | Value::I64(shown)) => shown,
            _ => 0,
        };
        let fits = (self.surely..=self.surely + self.perhaps).contains(&shown);
        if fits { Ok(()) } else { Err(format!("shows {shown}; {} were counted", self.surely)) }
    }
}

/// Few in every run of the tests; `TOMBOLO_SEEDS` for more.
fn seeds() -> u64 {
    std::env::var("TOMBOLO_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(6)
}

#[test]
fn an_app_that_is_sound_gets_through_its_days() {
    let report = Days::of(Tally::of(begin_a_counter, as_a_counter)).seeds(seeds()).assert_good();
    assert_eq!(report.seeds, seeds());
    assert!(report.steps > 500 * seeds(), "{} steps", report.steps);
}

#[test]
fn what_an_app_loses_by_its_own_mistake_is_found_within_few_seeds_and_can_be_played_again() {
    let days = Days::of(Tally::of(begin_nothing, as_a_number)).seeds(5).shrink_within(Duration::from_secs(4));
    let failure = days.play().expect_err("the mistake is found");
    assert_eq!(failure.violation.invariant, Invariant::AppPromise);
    let words = failure.recipe.to_words();
    assert!(failure.to_string().contains(&format!("TOMBOLO_DAYS='{words}' cargo test")), "{failure}");
    assert_eq!(Recipe::from_words(&words, Scenario::App).as_ref(), Some(&failure.recipe));
    let again = days.play_again(&failure.recipe).expect_err("it breaks again");
    assert_eq!(again.violation.invariant, Invariant::AppPromise);
}

/// Two who begin a counter under one key begin two, of which one is seen: the founder has to begin it.
#[test]
fn a_counter_that_two_begin_at_the_same_time_is_found() {
    let days = Days::of(Tally::of(begin_nothing, as_a_counter)).seeds(20).shrink_within(Duration::from_secs(2));
    let failure = days.play().expect_err("the mistake is found");
    assert_eq!(failure.violation.invariant, Invariant::AppPromise);
}

#[test]
fn an_app_that_falls_over_is_a_finding_with_its_words() {
    let days = Days::of(Tally::of(begin_nothing, fall_over)).seeds(1).shrink_within(Duration::ZERO);
    let failure = days.play().expect_err("it falls over");
    assert_eq!(failure.violation.invariant, Invariant::ApplyIsSafe);
    assert!(failure.violation.what.contains("the app's code or the CRDT library panicked"), "{failure}");
}

#[test]
fn words_that_no_failure_wrote_are_no_recipe() {
    for words in ["--from", "--from x", "--only 1,x", "--without rain", "--seeds 1 --fast yes"] {
        assert_eq!(Recipe::from_words(words, Scenario::App), None, "{words}");
    }
}
