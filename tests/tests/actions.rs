//! Actions, scopes, phases and events on real traffic: real clients and servers, the real daemon, and policy files
//! alone. Wherever frames are counted, the sum over the reasons is exactly what the interface received.

mod count;
mod drain;
mod established;
mod events;
mod limit;
mod mark;
mod modes;
mod phases;
mod redirect;
mod reject;
mod replies;
mod services;
mod stage;
