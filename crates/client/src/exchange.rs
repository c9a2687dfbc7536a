//! [`Exchange`]: what a call asks and how it reads the answer, apart from how it finds the broker and tries again.
//!
//! The body of an `async fn` is compiled again in each crate that awaits it, and of a generic one for each type. So the
//! long part of a call is written against this trait, once; what differs by request is the few lines here.

use std::time::Duration;

use bytes::Bytes;
use logrun_wire::{Request, VersionRange};

use crate::connection::{Connection, PendingFrame};
use crate::error::Error;
use crate::link::Link;

/// One request, which may be sent several times, and where its response goes.
pub(crate) trait Exchange: Send {
    /// The API, for messages.
    fn name(&self) -> &'static str;

    /// Sends the request, in a version of `allowed`.
    fn send(
        &mut self,
        connection: &Connection,
        allowed: VersionRange,
        timeout: Duration,
    ) -> Result<PendingFrame, Error>;

    /// Reads the response and keeps it; its error if that concerns all of it.
    fn take(&mut self, frame: Bytes, id: i32, version: i16) -> Result<(), Error>;
}

/// The exchange of a request's type: `build` makes it for a version, `check` finds the response's error.
pub(crate) struct Typed<R: Request, B, C> {
    build: B,
    check: C,
    response: Option<R::Response>,
}

impl<R: Request, B, C> Typed<R, B, C> {
    pub(crate) fn new(build: B, check: C) -> Self {
        Self { build, check, response: None }
    }

    /// What [`Exchange::take`] kept.
    pub(crate) fn into_response(self) -> Option<R::Response> {
        self.response
    }
}

impl<R, B, C> Exchange for Typed<R, B, C>
where
    R: Request,
    R::Response: Send,
    B: FnMut(i16) -> Result<R, Error> + Send,
    C: FnMut(i16, &R::Response) -> Result<(), Error> + Send,
{
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn send(
        &mut self,
        connection: &Connection,
        allowed: VersionRange,
        timeout: Duration,
    ) -> Result<PendingFrame, Error> {
        let version = connection.versions().pick::<R>(allowed)?;
        let request = (self.build)(version)?;
        connection.send_frame(&request, version, timeout)
    }

    fn take(&mut self, frame: Bytes, id: i32, version: i16) -> Result<(), Error> {
        let response = Link::response::<R>(frame, id, version)?;
        (self.check)(version, &response)?;
        self.response = Some(response);
        Ok(())
    }
}
