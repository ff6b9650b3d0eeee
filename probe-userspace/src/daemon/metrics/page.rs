//! Writes families of metrics. What is not known has no series; its family is there all the same.

use std::fmt::Error;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge, histogram::Histogram},
};

/// Labels of a series: name and value.
pub type Labels = Vec<(&'static str, String)>;

/// A page of metrics.
pub struct Page<'a>(pub DescriptorEncoder<'a>);

impl Page<'_> {
    /// One gauge.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Into<Option<f64>>) -> Result<(), Error> {
        let encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        match value.into() {
            Some(value) => ConstGauge::new(value).encode(encoder),
            None => Ok(()),
        }
    }

    /// `1` or `0`.
    pub fn flag(&mut self, name: &str, help: &str, value: bool) -> Result<(), Error> {
        self.gauge(name, help, f64::from(u8::from(value)))
    }

    /// Gauges with labels.
    pub fn gauges(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, f64)>,
    ) -> Result<(), Error> {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            ConstGauge::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Counters with labels. The name goes without `_total`.
    pub fn counters(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (Labels, u64)>,
    ) -> Result<(), Error> {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            ConstCounter::new(value).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// Histograms by one label.
    pub fn histograms(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        rows: &[(&'static str, Histogram)],
    ) -> Result<(), Error> {
        let mut encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (value, histogram) in rows {
            let labels = [(label, *value)];
            histogram.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
