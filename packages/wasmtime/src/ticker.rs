use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, Thread};
use std::time::Duration;
use wasmtime::Engine;

/// How often a guest that computes lets others have a look: its time limit, and whoever wants it to end.
pub const TICK: Duration = Duration::from_millis(2);

/// So many ticks without a call, and it sleeps until there is one. To wake it takes longer than a short call; where
/// calls follow each other it is awake.
const IDLE_TICKS: usize = 50;

/// Moves an engine's epoch on, for as long as there are calls, and a moment longer.
pub struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    /// Calls so far: some begin and end between two ticks.
    begun: AtomicUsize,
    is_asleep: AtomicBool,
}

impl Ticker {
    pub fn new(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let handle = thread::Builder::new().name("wasm-ticks".to_owned()).spawn(move || {
            loop {
                tick_while_busy(&own, &engine);
                own.is_asleep.store(true, SeqCst);
                // Whoever begins one from here on sees that it is asleep; who has begun one before is seen here.
                while own.running.load(SeqCst) == 0 && own.is_asleep.load(SeqCst) {
                    thread::park();
                }
                own.is_asleep.store(false, SeqCst);
            }
        })?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// Ticks until what it returns is dropped. The first tick may come at once.
    pub fn hold(&self) -> Ticking {
        self.shared.running.fetch_add(1, SeqCst);
        self.shared.begun.fetch_add(1, SeqCst);
        if self.shared.is_asleep.swap(false, SeqCst) {
            self.thread.unpark();
        }
        Ticking { shared: self.shared.clone() }
    }
}

fn tick_while_busy(shared: &Shared, engine: &Engine) {
    let (mut idle, mut begun) = (0, shared.begun.load(SeqCst));
    while idle < IDLE_TICKS {
        thread::sleep(TICK);
        engine.increment_epoch();
        let begun_by_now = shared.begun.load(SeqCst);
        let was_busy = begun_by_now != begun || shared.running.load(SeqCst) > 0;
        idle = if was_busy { 0 } else { idle + 1 };
        begun = begun_by_now;
    }
}

pub struct Ticking {
    shared: Arc<Shared>,
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.shared.running.fetch_sub(1, SeqCst);
    }
}
