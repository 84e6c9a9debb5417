use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;
use wasmtime::Engine;

/// How often a guest that computes lets others have a look: its time limit, and whoever wants it to end.
pub const TICK: Duration = Duration::from_millis(2);

/// Moves an engine's epoch on, for as long as there is a call that runs.
pub struct Ticker {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    running: Mutex<usize>,
    changed: Condvar,
}

impl Ticker {
    pub fn new(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        thread::Builder::new().name("wasm-ticks".to_owned()).spawn(move || {
            loop {
                let mut running = own.running.lock().unwrap();
                while *running == 0 {
                    running = own.changed.wait(running).unwrap();
                }
                drop(running);
                thread::sleep(TICK);
                engine.increment_epoch();
            }
        })?;
        Ok(Self { shared })
    }

    /// Ticks until what it returns is dropped.
    pub fn hold(&self) -> Ticking {
        let mut running = self.shared.running.lock().unwrap();
        *running += 1;
        if *running == 1 {
            self.shared.changed.notify_one();
        }
        Ticking { shared: self.shared.clone() }
    }
}

pub struct Ticking {
    shared: Arc<Shared>,
}

impl Drop for Ticking {
    fn drop(&mut self) {
        *self.shared.running.lock().unwrap() -= 1;
    }
}
