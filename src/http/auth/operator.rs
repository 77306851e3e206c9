//! The extractors for what only an operator may do, or a reporter too.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::http::auth::Identity;
use crate::http::error::{AccessError, ApiError};
use crate::model::credential::{Actor, Role};

/// An operator who has proved to be one. A handler that acts takes it, so that it cannot be reached by anybody else,
/// whatever is routed how; the name of the actor is what the act is done under.
#[derive(Debug, Clone)]
pub struct Operator(pub Actor);

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        proved(parts, Role::Operator).map(Self)
    }
}

/// Somebody who has proved that they may tell of changes: a reporter, or an operator.
#[derive(Debug, Clone)]
pub struct Reporter(pub Actor);

impl<S: Sync> FromRequestParts<S> for Reporter {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        proved(parts, Role::Reporter).map(Self)
    }
}

fn proved(parts: &Parts, needed: Role) -> Result<Actor, ApiError> {
    match parts.extensions.get::<Identity>() {
        Some(Identity::Known(actor)) if actor.role.includes(needed) => Ok(actor.clone()),
        Some(Identity::Known(actor)) => Err(AccessError::Forbidden { actor: actor.clone(), needed }.into()),
        Some(Identity::Anonymous | Identity::Signed(..)) | None => Err(AccessError::Unproved(needed).into()),
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;

    use super::*;
    use crate::http::peer::Peer;

    async fn extracted(identity: Option<Identity>) -> Option<String> {
        let mut request = Request::new(());
        request.extensions_mut().extend(
            identity
                .map(|identity| {
                    let mut extensions = axum::http::Extensions::new();
                    extensions.insert(identity);
                    extensions
                })
                .unwrap_or_default(),
        );
        let (mut parts, ()) = request.into_parts();
        Operator::from_request_parts(&mut parts, &()).await.ok().map(|operator| operator.0.name)
    }

    #[tokio::test]
    async fn only_an_operator_who_has_proved_to_be_one_is_one() {
        let known = |role| Some(Identity::Known(Actor { name: "ann".to_owned(), role }));
        assert_eq!(extracted(known(Role::Operator)).await.as_deref(), Some("ann"));
        let signed = Identity::Signed(Peer::at([127, 0, 0, 1].into()), Vec::new());
        let reporter = known(Role::Reporter);
        for other in [
            None,
            Some(Identity::Anonymous),
            Some(signed),
            known(Role::Viewer),
            known(Role::Webhook),
            reporter,
        ] {
            assert_eq!(extracted(other).await, None);
        }
    }
}
