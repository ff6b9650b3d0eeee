//! Tells the kernel which servers' answers pass in a halt.

use std::path::Path;

use super::Engine;
use crate::{
    daemon::{
        endpoints::{Names, Server, of_system, together},
        problems::Topic,
        surroundings::Surroundings,
    },
    dataplane::Endpoint,
    host::SourceUrl,
};

/// What the kernel was told.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    /// `None`: nothing yet by this process.
    told: Option<Vec<Endpoint>>,
    names: Names,
}

impl Engine {
    /// What this host depends on to stay reachable.
    pub(super) fn surroundings(&self) -> Surroundings {
        Surroundings::read(Path::new("/"), self.settings.host.ssh_ports())
    }

    /// From time to time what is known is told again. Names are looked up in a halt only: before it, nobody needs their
    /// addresses, and the answers of resolvers pass.
    pub(super) fn tick_endpoints(&mut self, is_due: bool) {
        let is_halted = self.dataplane.state().is_ok_and(|state| state.halted.is_some());
        let is_new = self.endpoints.names.take();
        if is_due || is_new || self.problems.has(&Topic::Endpoints) {
            self.look_at_endpoints();
        }
        if is_due && is_halted {
            self.look_up_names();
        }
    }

    /// Takes a new look at who the servers are, and tells the kernel if they are others.
    pub(super) fn look_at_endpoints(&mut self) {
        let endpoints = self.endpoints();
        if self.endpoints.told.as_ref() == Some(&endpoints) && !self.problems.has(&Topic::Endpoints) {
            return;
        }
        let result = self.dataplane.set_endpoints(&endpoints);
        if result.is_ok() {
            self.endpoints.told = Some(endpoints);
        }
        self.problems.note(
            Topic::Endpoints,
            "cannot tell the kernel whose answers pass in a halt",
            result,
        );
    }

    pub(super) fn look_up_names(&mut self) {
        let (_, time_servers) = of_system(Path::new("/"), &Surroundings::default());
        let servers = [self.bundle_servers(), time_servers].concat();
        self.endpoints.names.look_up(&servers);
    }

    /// Every endpoint that is known, bundle servers first.
    pub(super) fn endpoints(&self) -> Vec<Endpoint> {
        let root = Path::new("/");
        let (of_system, time_servers) = of_system(root, &Surroundings::read(root, &[]));
        let host = &self.settings.host;
        let of_host = host.time_servers.iter();
        let of_host = of_host.map(|server| Server::of_time(&server.value.to_string()));
        let servers: Vec<Server> = self
            .bundle_servers()
            .into_iter()
            .chain(of_host)
            .chain(time_servers)
            .collect();
        together(&servers, of_system, &self.endpoints.names)
    }

    /// The servers that bundles come from: those that the host file names as such, and those of its sources.
    fn bundle_servers(&self) -> Vec<Server> {
        let host = &self.settings.host;
        let named = host.bundle_servers.iter();
        let named = named.map(|server| Server::of_bundles(&server.value.host, server.value.port));
        let sources = host.sources.iter().filter_map(|source| match &source.url {
            SourceUrl::Web { host, port, .. } => Some(Server::of_bundles(host, *port)),
            SourceUrl::File(_) => None,
        });
        named.chain(sources).collect()
    }
}
