//! A client: posts a statement, asks for page after page, asks again when an answer does not come.

use std::rc::Rc;

use base::{Error, QueryId};

use crate::fault::Fault;
use crate::happening::Happening;
use crate::world::World;

/// A request that is not answered for so long is made again.
const TIMEOUT: u64 = 3_000;
/// The same for one that posts a statement.
const POST_TIMEOUT: u64 = 8_000;
const TRY_AGAIN: u64 = 300;
/// A request that comes a second time does so within this time.
const LATE_MAX: u64 = 1_500;

/// Where the next page starts in the committed output of the root stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    pub task: u32,
    pub generation: u32,
    pub row: usize,
    /// The sum of the generations of the tasks before, which the client has read.
    pub before: u64,
    /// There are no more rows.
    pub is_end: bool,
}

#[derive(Clone, Debug)]
pub enum Request {
    Post,
    Poll { query: QueryId, token: u64, position: Option<Position> },
    Cancel { query: QueryId },
}

/// A page of a result.
#[derive(Clone, Debug)]
pub struct Page {
    pub token: u64,
    pub rows: Rc<Vec<u64>>,
    /// Where the next page starts.
    pub position: Option<Position>,
    /// How the query ended: there is no next page.
    pub end: Option<Result<(), Error>>,
}

#[derive(Clone, Debug)]
pub enum Response {
    Accepted {
        query: QueryId,
        /// It is not recorded: the client has all that is needed to run it again.
        has_capsule: bool,
    },
    Page(Page),
    /// It is not the leader, or not yet.
    Unavailable,
    /// It does not know the query.
    Gone,
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Posting,
    Polling,
    Cancelling,
    /// It got its answer, or does not want one any more.
    Over,
}

pub struct Client {
    pub plan: usize,
    pub phase: Phase,
    pub query: Option<QueryId>,
    token: u64,
    position: Option<Position>,
    pub rows: Vec<u64>,
    /// The number of the last request: answers to others are not listened to.
    number: u64,
    machine: usize,
    /// The last request was not answered.
    asked_again: bool,
    /// Its query can be run again.
    has_capsule: bool,
    /// How long it looks at a page.
    think_mean: u64,
}

impl Client {
    pub fn new(plan: usize, think_mean: u64) -> Client {
        Client {
            plan,
            phase: Phase::Posting,
            query: None,
            token: 0,
            position: None,
            rows: Vec::new(),
            number: 0,
            machine: 0,
            asked_again: false,
            has_capsule: false,
            think_mean,
        }
    }

    /// Whether it has all that is needed to run its query again, and has got nothing of it yet.
    pub fn has_capsule(&self, query: QueryId) -> bool {
        self.has_capsule && self.query == Some(query) && self.token == 0
    }
}

impl World {
    /// It is time for a client to ask, or to ask again.
    pub fn client_wakes(&mut self, at: usize, number: u64) {
        let client = &self.clients[at];
        if client.number != number || client.phase == Phase::Over {
            return;
        }
        if client.phase == Phase::Polling && self.strikes(Fault::Vanish) {
            self.clients[at].phase = Phase::Over;
            return;
        }
        let machine = self.random.below(self.machines.len() as u64) as usize;
        let client = &mut self.clients[at];
        // Whoever answered last is asked first.
        if client.asked_again {
            client.machine = machine;
        }
        client.asked_again = true;
        self.client_asks(at);
    }

    fn client_asks(&mut self, at: usize) {
        let client = &mut self.clients[at];
        client.number += 1;
        let (number, machine) = (client.number, client.machine);
        let request = match (client.phase, client.query) {
            (Phase::Polling, Some(query)) => {
                Request::Poll { query, token: client.token, position: client.position }
            }
            (Phase::Cancelling, Some(query)) => Request::Cancel { query },
            _ => Request::Post,
        };
        if self.strikes(Fault::Reask) {
            let delay = self.random.range(1, LATE_MAX);
            self.at(delay, Happening::Request { machine, client: at, number, request: request.clone() });
        }
        let delay = self.random.delay(20);
        self.at(delay, Happening::Request { machine, client: at, number, request });
        let patience = if self.clients[at].phase == Phase::Posting { POST_TIMEOUT } else { TIMEOUT };
        self.at(patience, Happening::ClientWakes { client: at, number });
    }

    pub fn client_cancels(&mut self, at: usize) {
        let client = &mut self.clients[at];
        if client.phase == Phase::Polling {
            client.phase = Phase::Cancelling;
            self.ledger.cancelled.extend(client.query);
            self.client_asks(at);
        }
    }

    /// An answer reaches a client. What is wrong with it, if anything.
    pub fn client_hears(
        &mut self,
        at: usize,
        machine: usize,
        asked: u64,
        response: Response,
    ) -> Result<(), String> {
        if self.clients[at].number != asked || self.clients[at].phase == Phase::Over {
            return Ok(());
        }
        if self.strikes(Fault::Reask) {
            return Ok(());
        }
        let client = &mut self.clients[at];
        client.asked_again = false;
        // The same answer may come twice.
        client.number += 1;
        let number = client.number;
        match response {
            Response::Unavailable => {
                client.asked_again = true;
                let delay = self.random.delay(TRY_AGAIN);
                self.at(delay, Happening::ClientWakes { client: at, number });
                return Ok(());
            }
            Response::Accepted { query, has_capsule } => {
                client.has_capsule = has_capsule;
                client.query = Some(query);
                client.phase = Phase::Polling;
            }
            Response::Gone if client.phase == Phase::Cancelling => client.phase = Phase::Over,
            Response::Gone if client.query.is_some_and(|query| self.ledger.orphans.contains(&query)) => {
                client.phase = Phase::Over;
                self.sometimes("queries that ended with their coordinator", true);
            }
            Response::Gone => {
                return Err(format!("I-9: nobody knows query {:?} that client {at} asks for", client.query));
            }
            Response::Cancelled => client.phase = Phase::Over,
            Response::Page(page) => {
                if client.phase != Phase::Polling {
                    return Ok(());
                }
                client.token = page.token + 1;
                client.position = page.position;
                client.rows.extend(page.rows.iter());
                self.check_rows(at)?;
                if let Some(outcome) = page.end {
                    self.clients[at].phase = Phase::Over;
                    return self.on_answer(at, outcome);
                }
            }
        }
        self.clients[at].machine = machine;
        if self.clients[at].phase != Phase::Over {
            // It looks at what it got.
            let mean = self.clients[at].think_mean;
            let delay = self.random.delay(mean).min(3 * mean);
            self.at(delay, Happening::ClientWakes { client: at, number });
        }
        Ok(())
    }

    /// The process that a request reaches, if there is one that reads it now.
    pub fn on_request(
        &mut self,
        machine: usize,
        client: usize,
        number: u64,
        request: Request,
    ) -> Result<(), String> {
        if self.machines[machine].paused {
            let happening = Happening::Request { machine, client, number, request };
            self.machines[machine].held_back.push(happening);
            return Ok(());
        }
        if !self.machines[machine].is_leading() {
            self.respond(machine, client, number, Response::Unavailable);
            return Ok(());
        }
        match request {
            Request::Post => self.on_post(machine, client, number),
            Request::Cancel { query } => self.on_cancel(machine, client, number, query)?,
            Request::Poll { query, token, position } => {
                self.on_poll(machine, client, number, query, token, position)?;
            }
        }
        Ok(())
    }

    pub fn respond(&mut self, machine: usize, client: usize, number: u64, response: Response) {
        let delay = self.random.delay(20);
        self.at(delay, Happening::Response { machine, client, number, response });
    }
}
