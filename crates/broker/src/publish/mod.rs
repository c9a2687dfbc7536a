//! Metadata in force: what a new image changes on this broker.
//!
//! One image at a time, in the order of the log. The image is there for requests before its partitions are, so a
//! request may find a topic whose partition is about to come; it is told to ask again.

mod configs;
mod topics;

pub(crate) use topics::tell_directories;

use std::sync::Arc;

use logrun_metadata::{Changes, Published};

use crate::Broker;

pub use topics::register;

/// Brings this broker to a new image.
pub async fn publish(broker: &Arc<Broker>, published: Published) {
    let _one_at_a_time = broker.publishing().lock().await;
    let Published { base, image, changes } = published;
    broker.set_image(image.clone());
    // While the node starts, or without the broker's role, there is nobody to tell.
    if !broker.is_open() {
        return;
    }
    configs::apply(broker, &image, &changes);
    topics::apply(broker, &base, &image, &changes).await;
}

/// Takes every partition of the present image that this broker holds, and sets aside what belongs to none. From then on
/// images are acted on as they come.
pub(crate) async fn take_all(broker: &Arc<Broker>) {
    let _one_at_a_time = broker.publishing().lock().await;
    let image = broker.image();
    let mut changes = Changes::default();
    for topic in image.topics.iter() {
        changes.partitions.insert(topic.id, topic.partitions.keys().copied().collect());
    }
    broker.reload_dynamic_config(&image);
    broker.set_open();
    topics::apply(broker, &image, &image, &changes).await;
    let strays = broker.clone();
    let settle = move || {
        // What the checkpoints say of logs that are gone would be said of the next ones of their names.
        if strays.logs().set_strays_aside() {
            strays.checkpoint();
        }
    };
    broker.io().tasks.blocking(settle).await;
    crate::moves::resume(broker).await;
}
