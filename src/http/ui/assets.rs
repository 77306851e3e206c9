//! What pages load: a style sheet and an icon, both inside the binary.
//!
//! Their names carry a digest of their content, so a browser may keep them for good: other content has another name.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};

use crate::http::error::ApiError;

/// The style sheet of every page.
pub static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_str!("assets/style.css")));

/// The icon of every page.
pub static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_str!("assets/icon.svg")));

/// How long an asset may be kept.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// One file that pages load.
#[derive(Debug)]
pub struct Asset {
    file: String,
    path: String,
    etag: String,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(stem: &str, ending: &str, content_type: &'static str, content: &'static str) -> Self {
        let sum = digest(&SHA256, content.as_bytes());
        let sum: String = sum.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let file = format!("{stem}-{sum}.{ending}");
        Self { path: format!("/assets/{file}"), etag: format!("\"{sum}\""), file, content_type, content }
    }

    /// Where it is.
    pub fn path(&self) -> &str {
        &self.path
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let kept = asked.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
        let is_fresh = kept.is_some_and(|tags| tags.contains(&self.etag));
        let headers = [(header::ETAG, self.etag.as_str()), (header::CACHE_CONTROL, FOR_GOOD)];
        if is_fresh {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, [(header::CONTENT_TYPE, self.content_type)], self.content).into_response()
    }
}

/// `GET /assets/{file}`
pub(super) async fn show(
    file: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Path(file) = file?;
    let asset = [&*STYLE, &*ICON].into_iter().find(|asset| asset.file == file);
    Ok(asset.ok_or(ApiError::NoSuchPath)?.answer(&headers))
}
