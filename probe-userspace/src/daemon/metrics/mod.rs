//! Metrics for Prometheus: over the control socket, on localhost, and as a file for node_exporter.
//!
//! All three show the same page, [`Pages::page`]. It is made of what the engine told last and of maps read here, never
//! by asking the engine: a scrape cannot delay a halt.

mod action;
mod figures;
mod page;
mod proc;
mod text;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, Semaphore, watch},
    task::spawn_blocking,
    time::{Instant as Stopwatch, MissedTickBehavior, interval, sleep, timeout},
};

pub use self::figures::{Figures, PublishDurations};
use super::{
    engine::{Event, Handle},
    problems::Topic,
};
use crate::{durable, instant::Instant};

/// For how long a page is good. Whoever scrapes more often gets the same one.
const FRESH: Duration = Duration::from_secs(1);
/// How often the file is written.
const TEXTFILE_INTERVAL: Duration = Duration::from_secs(15);
/// How often a listener that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// Connections at a time.
const MAX_CONNECTIONS: usize = 8;
/// Longest head of a request.
const MAX_HEADER_BYTES: usize = 8 << 10;
/// Time a caller has to send its request, and time a connection may last.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Makes pages of metrics.
#[derive(Clone, Debug)]
pub struct Pages {
    figures: watch::Receiver<Arc<Figures>>,
    last: Arc<Mutex<Option<(Stopwatch, Bytes)>>>,
}

impl Pages {
    /// Of what the engine tells.
    pub fn new(figures: watch::Receiver<Arc<Figures>>) -> Self {
        Self {
            figures,
            last: Arc::default(),
        }
    }

    /// Of an engine that tells nothing.
    #[cfg(test)]
    pub fn of_nothing() -> Self {
        Self::new(watch::channel(Arc::new(Figures::starting())).1)
    }

    /// The page, at most a second old.
    pub async fn page(&self) -> anyhow::Result<Bytes> {
        let mut last = self.last.lock().await;
        if let Some((made, page)) = &*last
            && made.elapsed() < FRESH
        {
            return Ok(page.clone());
        }
        let figures = Arc::clone(&self.figures.borrow());
        let page = spawn_blocking(move || read(figures)).await??;
        *last = Some((Stopwatch::now(), page.clone()));
        Ok(page)
    }

    /// The page as an answer.
    pub async fn answer(&self) -> Response {
        match self.page().await {
            Ok(page) => {
                let content_type = prometheus_client::encoding::prometheus_text::CONTENT_TYPE;
                ([(CONTENT_TYPE, content_type)], page).into_response()
            }
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
        }
    }
}

fn read(figures: Arc<Figures>) -> anyhow::Result<Bytes> {
    let counters = figures.counters.as_ref().map(|counters| counters.read());
    let facts = text::Facts {
        counters: counters.transpose()?.unwrap_or_default(),
        maps: figures.maps.as_ref().map(|maps| maps.read()).unwrap_or_default(),
        interfaces: proc::interfaces(),
        process: proc::Process::read(),
        now: Instant::now(),
        figures,
    };
    Ok(text::text(facts)?.into())
}

/// Serves the pages on an address, and writes them to a file, until dropped. What fails is a problem and tried again.
pub async fn run(address: Option<SocketAddr>, textfile: Option<PathBuf>, handle: Handle) {
    tokio::join!(listen(address, &handle), write(textfile, &handle));
}

async fn listen(address: Option<SocketAddr>, handle: &Handle) {
    let Some(address) = address else {
        return;
    };
    loop {
        let Err(error) = serve(address, handle).await;
        let text = format!(
            "no metrics on {address}: {error}; tried again every {} s. Is it somebody else's? Name another with \
             `metrics` in the host file, or \"\" for none",
            RETRY.as_secs()
        );
        tell(handle, Topic::Metrics, Some(text)).await;
        sleep(RETRY).await;
    }
}

async fn serve(address: SocketAddr, handle: &Handle) -> io::Result<Infallible> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(%address, "metrics");
    tell(handle, Topic::Metrics, None).await;
    let app = Router::new()
        .route("/metrics", get(scrape))
        .fallback(|| async { (StatusCode::NOT_FOUND, "the metrics are at /metrics\n") })
        .with_state(handle.pages.clone());
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!("cannot accept a scrape: {error}");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Who finds no place is closed on.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let service = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_TIMEOUT)
                .max_buf_size(MAX_HEADER_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, connection).await {
                tracing::debug!("a scrape ended: {error}");
            }
            drop(place);
        });
    }
}

async fn scrape(State(pages): State<Pages>) -> Response {
    pages.answer().await
}

async fn write(path: Option<PathBuf>, handle: &Handle) {
    let Some(path) = path else {
        return;
    };
    let mut interval = interval(TEXTFILE_INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let problem = write_once(&path, &handle.pages).await.err();
        let problem =
            problem.map(|error| format!("cannot write the metrics to {}: {error:#}", path.display()));
        tell(handle, Topic::MetricsFile, problem).await;
    }
}

async fn write_once(path: &Path, pages: &Pages) -> anyhow::Result<()> {
    let page = pages.page().await?;
    let path = path.to_owned();
    spawn_blocking(move || durable::write(&path, &page, 0o644, durable::Existing::Replace)).await??;
    Ok(())
}

async fn tell(handle: &Handle, topic: Topic, problem: Option<String>) {
    if handle.events.send(Event::Problem(topic, problem)).await.is_err() {
        tracing::debug!("the daemon is stopping");
    }
}
