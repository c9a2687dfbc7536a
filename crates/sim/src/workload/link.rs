//! [`Link`]: a client's way to the node: connects when needed, notes what goes over it, hears nothing from a process
//! that is no more.

use std::rc::Rc;
use std::time::Duration;

use logrun_client::Error;
use logrun_client::link::Link as Client;
use logrun_wire::{Message, Request};

use crate::model::Violation;
use crate::phase::Phase;

/// One request in so many breaks off in its middle, and the connection with it.
const CUT_ONE_IN: u64 = 200;

/// There is no response; the request may have been acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

/// A request that is under way.
#[derive(Clone, Copy, Debug)]
pub struct Awaited {
    id: i32,
    version: i16,
}

/// One client's connection, and the next one after it breaks.
pub struct Link {
    pub phase: Rc<Phase>,
    name: String,
    client: Option<Client>,
    /// A closed connection is how the node says no (produce with `acks=0`).
    closing_is_an_answer: bool,
}

impl Link {
    pub fn new(phase: &Rc<Phase>, name: impl Into<String>) -> Self {
        Self { phase: phase.clone(), name: name.into(), client: None, closing_is_an_answer: false }
    }

    pub fn closing_is_an_answer(&mut self) {
        self.closing_is_an_answer = true;
    }

    /// Sends a request and waits at most `timeout_ms` for its response.
    pub async fn call<R: Request>(&mut self, version: i16, request: &R, timeout_ms: u64) -> Result<R::Response, Lost> {
        let awaited = self.send(version, request).await?;
        self.receive::<R>(awaited, timeout_ms).await
    }

    /// Sends a request.
    pub async fn send<R: Request>(&mut self, version: i16, request: &R) -> Result<Awaited, Lost> {
        if self.phase.is_over() {
            return Err(Lost);
        }
        self.phase.note(format_args!("{} > {} v{version}", self.name, R::NAME));
        self.tell(request);
        if self.phase.run.random.chance(1, CUT_ONE_IN) {
            self.phase.note(format_args!("{} cuts its connection in the middle of it", self.name));
            if let Some(client) = &mut self.client {
                // What comes of it does not matter any more.
                let _ = client.send_half(version, request).await;
            }
            return Err(self.lose());
        }
        let sent = self.try_send(version, request).await;
        match sent {
            Ok(id) if !self.phase.is_over() => Ok(Awaited { id, version }),
            Ok(_) => Err(self.lose()),
            Err(e) => Err(self.lost::<R>(&e)),
        }
    }

    /// Waits at most `timeout_ms` for the response to the oldest request that is under way.
    pub async fn receive<R: Request>(&mut self, awaited: Awaited, timeout_ms: u64) -> Result<R::Response, Lost> {
        let Some(client) = &mut self.client else { return Err(Lost) };
        let response = match client.receive(Duration::from_millis(timeout_ms)).await {
            Ok(frame) => {
                self.phase.run.trace.borrow_mut().note_bytes(&frame);
                Client::response::<R>(frame, awaited.id, awaited.version)
            }
            Err(e) => Err(e),
        };
        // What is said after the end was never said.
        if self.phase.is_over() {
            return Err(self.lose());
        }
        match response {
            Ok(response) => {
                self.phase.note(format_args!("{} < {}", self.name, R::Response::NAME));
                self.tell(&response);
                Ok(response)
            }
            Err(e) => Err(self.lost::<R>(&e)),
        }
    }

    /// Breaks the connection, with whatever is under way on it.
    pub fn cut(&mut self) {
        if self.client.take().is_some() {
            self.phase.note(format_args!("{} cuts its connection", self.name));
        }
    }

    async fn try_send<R: Request>(&mut self, version: i16, request: &R) -> Result<i32, Error> {
        if self.client.is_none() {
            self.client = Some(Client::connect(&self.phase.io, self.phase.addr, &self.name).await?);
        }
        match &mut self.client {
            Some(client) => client.send(version, request).await,
            None => Err(Error::Closed),
        }
    }

    fn lose(&mut self) -> Lost {
        self.client = None;
        Lost
    }

    fn lost<R: Request>(&mut self, e: &Error) -> Lost {
        self.phase.note(format_args!("{} has no answer to {}: {e}", self.name, R::NAME));
        let closed = matches!(e, Error::Disconnected { .. } | Error::Connect { .. });
        match e {
            Error::Malformed(_) | Error::Encode(_) | Error::Invalid(_) => {
                self.phase.fail(Violation::new("answered", format!("{} to {}: {e}", R::NAME, self.name)));
            }
            _ if self.phase.calm.get() && !(closed && self.closing_is_an_answer) => {
                self.phase.fail(Violation::new("answered", format!("{} to {}: {e}", R::NAME, self.name)));
            }
            _ => {}
        }
        self.lose()
    }

    fn tell<M: Message>(&self, message: &M) {
        let mut trace = self.phase.run.trace.borrow_mut();
        if trace.is_told() {
            trace.tell(&format!("{message:?}"));
        }
    }
}
