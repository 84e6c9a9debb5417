use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// A thread that has had nothing to do for so long ends.
const IDLE: Duration = Duration::from_secs(10);
/// Guests run on stacks of their own.
const STACK_BYTES: usize = 512 << 10;

type Job = Box<dyn FnOnce() + Send>;

/// A thread for each call that runs: guests that compute then share the processors as the kernel has it. Threads are
/// made when one is missing, and used again.
#[derive(Clone, Default)]
pub struct Threads {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    line: Mutex<Line>,
    has_job: Condvar,
}

#[derive(Default)]
struct Line {
    jobs: VecDeque<Job>,
    idle: usize,
}

impl Threads {
    /// Runs a job at once. How many there are is for the caller to bound.
    pub fn run(&self, job: Job) -> std::io::Result<()> {
        let mut line = self.shared.line.lock().unwrap();
        line.jobs.push_back(job);
        if line.idle >= line.jobs.len() {
            self.shared.has_job.notify_one();
            return Ok(());
        }
        drop(line);
        let shared = self.shared.clone();
        let made = thread::Builder::new().name("wasm".to_owned()).stack_size(STACK_BYTES).spawn(move || work(&shared));
        made.map(|_| ())
    }
}

fn work(shared: &Shared) {
    let mut line = shared.line.lock().unwrap();
    loop {
        if let Some(job) = line.jobs.pop_front() {
            drop(line);
            job();
            line = shared.line.lock().unwrap();
            continue;
        }
        line.idle += 1;
        let (woken, waited) = shared.has_job.wait_timeout(line, IDLE).unwrap();
        line = woken;
        line.idle -= 1;
        if waited.timed_out() && line.jobs.is_empty() {
            return;
        }
    }
}
