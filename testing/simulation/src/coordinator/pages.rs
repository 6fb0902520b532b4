//! The result in pages: rows from any position of the committed output, and the last page kept until the next one
//! is asked for.

use std::collections::BTreeSet;
use std::rc::Rc;

use base::{AttemptId, Error, OutputId, QueryId, StageId};
use scheduler::Event;

use super::{Durability, Job, Purpose, lost, root_task};
use crate::bug::Bug;
use crate::client::{Page, Position, Response};
use crate::happening::{Happening, Moment, Timer};
use crate::store::{Answer, Key, Operation, Value};
use crate::world::World;

/// A client that waits for rows is answered without any after so long.
const WAIT: u64 = 700;
/// The rows of a page, at most.
pub const PAGE_ROWS: usize = 7;

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    client: usize,
    number: u64,
    token: u64,
    position: Option<Position>,
}

#[derive(Debug, Default)]
pub struct Pages {
    last: Option<Page>,
    waiting: Option<Waiting>,
    /// The output that is being read, or was read last.
    reading: Option<AttemptId>,
    data: Option<(AttemptId, Rc<Vec<u64>>)>,
    /// The tasks of which the core knows that the client has begun to get their rows.
    begun: BTreeSet<u32>,
}

/// What there is to answer.
enum Next {
    Wait,
    /// An output has to be read first.
    Read(OutputId, AttemptId),
    Page {
        rows: Vec<u64>,
        position: Option<Position>,
        end: Option<Result<(), Error>>,
        begun: Option<u32>,
    },
    /// What the client has read does not count any more.
    Lost(Error),
}

impl World {
    pub fn on_poll(
        &mut self,
        at: usize,
        client: usize,
        number: u64,
        query: QueryId,
        token: u64,
        position: Option<Position>,
    ) -> Result<(), String> {
        let forgets = self.bug == Some(Bug::PageServedOnce);
        let moves_on = self.bug == Some(Bug::LateRequestMovesOn);
        let Some(job) = self.job(at, query) else {
            // A former life may have taken it in after this one had read what there was.
            let purpose = Purpose::Look { query, client, number };
            self.shell_asks(at, purpose, Operation::Get(Key::Query(query)));
            return Ok(());
        };
        job.silence = 0;
        job.was_polled = true;
        match &job.pages.last {
            Some(last) if last.token == token && !forgets => {
                let page = last.clone();
                self.sometimes("pages served again", true);
                self.respond(at, client, number, Response::Page(page));
                return Ok(());
            }
            // A request that was late, or came twice: nobody listens to the answer.
            Some(last) if last.token > token && !moves_on => return Ok(()),
            _ => {}
        }
        // A page that is not kept cannot be found again by where it began.
        let position = match &job.pages.last {
            Some(last) if forgets && last.token == token || moves_on => last.position,
            _ => position,
        };
        job.pages.waiting = Some(Waiting { client, number, token, position });
        self.wake(at, WAIT, Timer::Answer(query));
        self.answer_client(at, query, false)
    }

    /// Answers the client that waits, if there is something to say, or if it has waited long enough.
    pub fn answer_client(&mut self, at: usize, query: QueryId, late: bool) -> Result<(), String> {
        let Some(job) = self.job(at, query) else {
            return Ok(());
        };
        let Some(waiting) = job.pages.waiting else {
            return Ok(());
        };
        // One that is run again is answered when its statement would be.
        if job.durability != Durability::Durable && job.post.is_some() {
            return Ok(());
        }
        let is_new = job.pages.last.as_ref().is_none_or(|last| last.token < waiting.token);
        if !is_new && self.bug != Some(Bug::LateRequestMovesOn) {
            let job = self.job(at, query).expect("it was there");
            job.pages.waiting = None;
            return Ok(());
        }
        let (rows, position, end) = match self.next_page(at, query, waiting.position) {
            Next::Wait if late => (Vec::new(), waiting.position, None),
            Next::Wait => return Ok(()),
            Next::Read(output, winner) => {
                let job = self.job(at, query).expect("it was there");
                if job.pages.reading != Some(winner) {
                    job.pages.reading = Some(winner);
                    let operation = Operation::Get(Key::Data(winner));
                    self.shell_asks(at, Purpose::ReadResult(output), operation);
                }
                return Ok(());
            }
            Next::Lost(error) => {
                self.sometimes("results lost under their reader", true);
                let job = self.job(at, query).expect("it was there");
                match job.outcome {
                    None => return self.step_core(at, Event::QueryCancelled { query, error }),
                    // It had ended well; what it left has rotted since.
                    Some(_) => (Vec::new(), None, Some(Err(error))),
                }
            }
            Next::Page { rows, position, end, begun } => {
                // The client has the rows of the tasks before, too.
                for partition in 0..begun.map_or(0, |task| task + 1) {
                    let pages = self.job(at, query).map(|job| &mut job.pages);
                    if pages.is_some_and(|pages| pages.begun.insert(partition)) {
                        self.ledger.result_read.insert(query);
                        self.step_core(at, Event::ResultRead { query, partition })?;
                    }
                    if !self.machines[at].is_leading() {
                        return Ok(());
                    }
                }
                let is_running = self.job(at, query).is_some_and(|job| job.outcome.is_none());
                if is_running && begun.is_some_and(|task| task > 0) {
                    for _ in 0..2 {
                        let delay = self.random.below(500) + 1;
                        self.at(delay, Happening::Moment { machine: at, kind: Moment::Read });
                    }
                }
                (rows, position, end)
            }
        };
        let page = Page { token: waiting.token, rows: Rc::new(rows), position, end };
        let Some(job) = self.job(at, query) else {
            return Ok(());
        };
        job.pages.waiting = None;
        job.pages.last = Some(page.clone());
        let is_end = page.end.is_some();
        self.check_page(at, query, &page)?;
        self.respond(at, waiting.client, waiting.number, Response::Page(page));
        if is_end {
            self.close(at, query)?;
        }
        Ok(())
    }

    fn next_page(&self, at: usize, query: QueryId, position: Option<Position>) -> Next {
        let process = self.machines[at].process.as_ref().expect("the caller knows that it lives");
        let job = &process.jobs[&query];
        if let Some(Err(error)) = &job.outcome {
            let end = Some(Err(error.clone()));
            return Next::Page { rows: Vec::new(), position: None, end, begun: None };
        }
        if job.is_short {
            return Next::Page {
                rows: self.whole_result(job),
                position: None,
                end: job.outcome.clone(),
                begun: None,
            };
        }
        let mut from = position.unwrap_or_default();
        if self.plans[job.plan].is_streamed() {
            return self.next_streamed(job, from);
        }
        if job.is_bare {
            if !from.is_end {
                // It ended well, and somebody began to delete it because the rest could not be read.
                let task = root_task(query, from.task);
                return Next::Lost(lost(OutputId { task, generation: from.generation }));
            }
            return Next::Page { rows: Vec::new(), position, end: job.outcome.clone(), begun: None };
        }
        let generation = |task: u32| job.generations.get(&root_task(query, task)).copied().unwrap_or(0);
        let before: u64 = (0..from.task).map(|task| u64::from(generation(task))).sum();
        let is_stale = from.row > 0 && generation(from.task) != from.generation;
        let is_replaced = before != from.before;
        if is_stale || is_replaced {
            let task = root_task(query, from.task);
            return Next::Lost(lost(OutputId { task, generation: from.generation }));
        }
        if job.sealed.get(&StageId(0)) == Some(&from.task) {
            return match &job.outcome {
                // Whoever asks from here on has all rows, even if nothing else is known of the query any more.
                Some(_) if !from.is_end => {
                    from.is_end = true;
                    Next::Page { rows: Vec::new(), position: Some(from), end: None, begun: None }
                }
                Some(outcome) => {
                    Next::Page { rows: Vec::new(), position, end: Some(outcome.clone()), begun: None }
                }
                None => Next::Wait,
            };
        }
        let task = root_task(query, from.task);
        let Some((generation, winner)) = job.selected.get(&task).copied() else {
            return Next::Wait;
        };
        let data = match &job.pages.data {
            Some((read, data)) if *read == winner => data.clone(),
            // What is in the commit record is known with it.
            _ if self.is_inline(winner) => {
                Rc::new(self.ledger.written[&winner].iter().flatten().copied().collect())
            }
            _ => return Next::Read(OutputId { task, generation }, winner),
        };
        let begun = Some(from.task);
        from.generation = generation;
        let rows: Vec<u64> = data.iter().skip(from.row).take(PAGE_ROWS).copied().collect();
        from.row += rows.len();
        if from.row == data.len() {
            let before = from.before + u64::from(generation);
            let is_last = job.outcome.is_some() && job.sealed.get(&StageId(0)) == Some(&(from.task + 1));
            from = Position { task: from.task + 1, generation: 0, row: 0, before, is_end: is_last };
        }
        Next::Page { rows, position: Some(from), end: None, begun }
    }

    /// The rows of a short query, all of which are known here.
    fn whole_result(&self, job: &Job) -> Vec<u64> {
        let root = job.selected.iter().filter(|(task, _)| task.stage == StageId(0));
        root.flat_map(|(_, (_, winner))| self.ledger.written[winner].iter().flatten()).copied().collect()
    }

    /// What there is to answer of a result that is read while it is written.
    fn next_streamed(&self, job: &Job, mut from: Position) -> Next {
        if job.sealed.get(&StageId(0)) == Some(&from.task) {
            let is_told_early = self.bug == Some(Bug::LastPageEarly);
            return match &job.outcome {
                None if !is_told_early => Next::Wait,
                _ => Next::Page { rows: Vec::new(), position: Some(from), end: Some(Ok(())), begun: None },
            };
        }
        let Some(data) = job.stream.get(&from.task) else {
            return Next::Wait;
        };
        let rows: Vec<u64> = data.iter().skip(from.row).take(PAGE_ROWS).copied().collect();
        from.row += rows.len();
        if from.row == data.len() {
            from = Position { task: from.task + 1, row: 0, ..from };
        }
        Next::Page { rows, position: Some(from), end: None, begun: None }
    }

    /// The store answers the reader of the result.
    pub fn result_hears(&mut self, at: usize, output: OutputId, answer: Answer) -> Result<(), String> {
        let query = output.task.query;
        let Some(job) = self.job(at, query) else {
            return Ok(());
        };
        // Another one may be read by now.
        let Some(winner) = job.pages.reading.take_if(|winner| winner.output() == output) else {
            return Ok(());
        };
        match answer {
            Answer::Found(Value::Data(data)) => {
                let rows = data.iter().flatten().copied().collect();
                job.pages.data = Some((winner, Rc::new(rows)));
                self.answer_client(at, query, false)
            }
            Answer::Missing | Answer::Corrupt => {
                let is_current = job.selected.get(&output.task) == Some(&(output.generation, winner));
                let (outcome, waiting) = (job.outcome.clone(), job.pages.waiting);
                self.sometimes("root outputs lost", true);
                match (outcome, waiting) {
                    // It cannot be run again: it has ended.
                    (Some(Ok(())), Some(waiting)) if is_current => {
                        let end = Some(Err(lost(output)));
                        let rows = Rc::new(Vec::new());
                        let page = Page { token: waiting.token, rows, position: None, end };
                        if let Some(job) = self.job(at, query) {
                            job.pages.waiting = None;
                            job.pages.last = Some(page.clone());
                        }
                        self.check_page(at, query, &page)?;
                        self.respond(at, waiting.client, waiting.number, Response::Page(page));
                        self.close(at, query)
                    }
                    (Some(_), _) => Ok(()),
                    (None, _) => self.step_core(at, Event::OutputLost { output, error: lost(output) }),
                }
            }
            _ => Ok(()),
        }
    }
}
