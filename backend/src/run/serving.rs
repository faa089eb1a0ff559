//! Listeners and their routes -> served ports -> drained ones: first no new connection, then none with a request in flight.

use std::sync::Arc;

use axum::Router;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::end::End;
use crate::http::tls::Tls;
use crate::http::{self, Ending};
use crate::observe::readiness::Draining;
use crate::settings::HttpSettings;

/// What is served where.
pub(super) struct Listeners {
    /// What takes requests; closed first.
    pub(super) main: Vec<(TcpListener, Router)>,
    /// What encrypts `main`.
    pub(super) tls: Option<Arc<Tls>>,
    /// What is encrypted otherwise, and closed with `main`.
    pub(super) apart: Option<(TcpListener, Router, Arc<Tls>)>,
    pub(super) metrics: (TcpListener, Router),
}

/// Ports that are being served.
pub(super) struct Serving {
    draining: Draining,
    main: Vec<Port>,
    metrics: Port,
    stop_metrics: CancellationToken,
}

/// One of them, and how many of its connections are cut at the end.
struct Port {
    number: u16,
    cut: JoinHandle<usize>,
}

impl Serving {
    /// Serves them. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the system doesn't know of a listener.
    pub(super) fn start(
        listeners: Listeners,
        settings: &HttpSettings,
        draining: &Draining,
    ) -> std::io::Result<Self> {
        let Listeners { main, tls, apart, metrics } = listeners;
        let stop_metrics = CancellationToken::new();
        let serve = |(listener, routes): (TcpListener, Router),
                     tls: Option<Arc<Tls>>,
                     stop: CancellationToken|
         -> std::io::Result<Port> {
            let number = listener.local_addr()?.port();
            let ending = Ending { begun: draining.begun(), stop, cut: draining.over() };
            let cut = tokio::spawn(http::serve(listener, routes, settings.clone(), tls, ending));
            Ok(Port { number, cut })
        };
        let main = main.into_iter().map(|(listener, routes)| (listener, routes, tls.clone()));
        let apart = apart.map(|(listener, routes, tls)| (listener, routes, Some(tls)));
        for tls in tls.iter().chain(apart.iter().filter_map(|(.., tls)| tls.as_ref())) {
            tokio::spawn(tls.clone().follow(draining.closing()));
        }
        let main = main
            .chain(apart)
            .map(|(listener, routes, tls)| serve((listener, routes), tls, draining.closing()));
        Ok(Self {
            draining: draining.clone(),
            main: main.collect::<Result<_, _>>()?,
            metrics: serve(metrics, None, stop_metrics.clone())?,
            stop_metrics,
        })
    }

    /// Ends it after the drain has begun: says whether all that was in flight was answered.
    ///
    /// # Errors
    /// When a port's task ended early.
    pub(super) async fn drain(self, end: &End) -> anyhow::Result<bool> {
        let Self { draining, main, metrics, stop_metrics } = self;
        end.goes_on_with("waiting for load balancers to look away (--drain-secs)");
        tokio::time::sleep_until(end.accepts_until.into()).await;
        draining.close();
        end.goes_on_with("requests in flight");
        let (over, cut) = (end.requests_until, draining.clone());
        tokio::spawn(async move {
            tokio::time::sleep_until(over.into()).await;
            cut.cut();
        });
        let ended = join_all(main.into_iter().map(Port::ended)).await;
        stop_metrics.cancel();
        let ended = ended.into_iter().chain([metrics.ended().await]);
        ended.collect::<Result<Vec<bool>, _>>().map(|ended| ended.into_iter().all(|all| all))
    }
}

impl Port {
    /// Waits until all connections have ended, or are cut; says which.
    async fn ended(self) -> anyhow::Result<bool> {
        let (port, connections) = (self.number, self.cut.await?);
        if connections > 0 {
            tracing::warn!(port, connections, "cut: the time for requests is over (--exit-timeout-secs)");
        }
        Ok(connections == 0)
    }
}
