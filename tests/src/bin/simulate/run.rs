//! Plays the seeds on some threads, says how far it is, and gathers what was found.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tombolo_tests::world::history::Played;
use tombolo_tests::world::shrink::shrink;
use tombolo_tests::world::{Recipe, play, play_twice};

use crate::bugs;
use crate::options::Plan;
use crate::report::Report;

/// Every so many seeds one is played twice.
const TWICE: u64 = 50;
/// How often the progress is told.
const TELL: Duration = Duration::from_secs(10);

pub(crate) fn run(plan: &Plan) -> ExitCode {
    if let Some(name) = &plan.catch {
        return bugs::catch(name, plan);
    }
    if let Some(problem) = plan.planted.as_deref().and_then(bugs::plant) {
        println!("{problem}");
        return ExitCode::from(2);
    }
    let (next, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    let mut report = Report::new(plan, started);
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        for _ in 0..plan.threads {
            let sender = sender.clone();
            let (next, stopped) = (&next, &stopped);
            scope.spawn(move || work(plan, started, next, stopped, &sender));
        }
        drop(sender);
        listen_for_interrupts();
        gather(plan, &receiver, &stopped, &mut report);
    });
    for (recipe, played) in report.take_failures() {
        println!("\nseed {}: shrinking for up to {} s", recipe.seed, plan.shrink.as_secs());
        let (recipe, played) = shrink(&recipe, played, plan.shrink, play);
        report.tell_failure(&recipe, &played);
    }
    report.sum_up()
}

/// Takes seeds until there are no more.
fn work(plan: &Plan, started: Instant, next: &AtomicU64, stopped: &AtomicBool, sender: &Sender<(Recipe, Played)>) {
    loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        let over = plan.until.is_some_and(|until| started.elapsed() >= until);
        if nth >= plan.seeds || over || stopped.load(Ordering::Relaxed) || interrupted() {
            return;
        }
        let recipe = Recipe { seed: plan.template.seed + nth, ..plan.template.clone() };
        let played = if recipe.seed.is_multiple_of(TWICE) { play_twice(&recipe) } else { play(&recipe) };
        if sender.send((recipe, played)).is_err() {
            return;
        }
    }
}

fn gather(plan: &Plan, receiver: &Receiver<(Recipe, Played)>, stopped: &AtomicBool, report: &mut Report<'_>) {
    let mut told = Instant::now();
    loop {
        match receiver.recv_timeout(TELL) {
            Ok((recipe, played)) => {
                if plan.verbose {
                    println!("seed {}: {} steps, {}", recipe.seed, played.steps, played.hash);
                }
                if let Some(violation) = &played.violation {
                    println!("seed {}: {violation}", recipe.seed);
                    stopped.fetch_or(plan.first, Ordering::Relaxed);
                }
                report.take(recipe, played);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            report.tell_progress();
        }
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// After Ctrl-C the histories under way are played to their end, and the summary is printed; after a second one
/// the program ends at once.
fn listen_for_interrupts() {
    std::thread::spawn(|| {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if INTERRUPTED.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
            }
        });
    });
}
