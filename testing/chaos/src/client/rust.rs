//! Our own client.

use steadfast::client::{Client, ClientError};
use tokio::sync::watch;

use super::{ClientProgress, EndTeller, Running};

/// Starts a query under our own client.
pub fn start_rust(mut client: Client, text: &str) -> Running {
    let (told, progress) = watch::channel(ClientProgress::default());
    let teller = EndTeller(told);
    let text = text.to_string();
    let rows = tokio::spawn(async move {
        let mut rows = Vec::new();
        let fetched: Result<(), ClientError> = async {
            let mut statement = client.start(&text).await?;
            while let Some(page) = statement.next().await? {
                rows.extend(page.rows);
                teller.0.send_modify(|progress| {
                    progress.id = Some(page.id);
                    progress.rows = rows.len();
                });
            }
            Ok(())
        }
        .await;
        fetched.map(|()| rows).map_err(|error| error.to_string())
    });
    Running::new(progress, rows)
}
