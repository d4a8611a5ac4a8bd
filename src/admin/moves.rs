//! What answers requests about moves.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::Error as WordError;

use super::answers::{MoveAction, MoveRequest, Throttle, WeightRequest};
use super::routes::{Answer, DoorState, json, ok};
use super::{BODY_MAX_BYTES, BODY_TIME};
use crate::error::{Error, SqlState};
use crate::web::{Problem, read_json};

/// `GET /v1/moves`.
pub(super) async fn list(State(door): DoorState) -> Answer {
    ok(&door.control.moves().await?)
}

/// `POST /v1/moves`.
pub(super) async fn start(State(door): DoorState, headers: HeaderMap, body: Body) -> Answer {
    let request: MoveRequest = read_json(&headers, body, BODY_MAX_BYTES, BODY_TIME).await?;
    let status = if request.dry_run { StatusCode::OK } else { StatusCode::CREATED };
    let plans = door.control.start_moves(request).await?;
    Ok(json(status, &plans))
}

/// `GET /v1/moves/{id}`.
pub(super) async fn describe(State(door): DoorState, Path(id): Path<String>) -> Answer {
    let answer = door.control.one_move(number(&id)?).await.map_err(not_found)?;
    ok(&answer)
}

/// `POST /v1/moves/{id}/{action}`.
pub(super) async fn change(State(door): DoorState, Path((id, action)): Path<(String, String)>) -> Answer {
    let parsed: Result<MoveAction, WordError> = MoveAction::deserialize(action.as_str().into_deserializer());
    let action = parsed.map_err(|_| Problem::bad_request("a move can be asked to pause, resume or cancel"))?;
    let answer = door.control.change_move(number(&id)?, action).await.map_err(not_found)?;
    ok(&answer)
}

/// `POST /v1/shards/{shard}/weight`.
pub(super) async fn weigh(State(door): DoorState, Path(shard): Path<String>, headers: HeaderMap, body: Body) -> Answer {
    let request: WeightRequest = read_json(&headers, body, BODY_MAX_BYTES, BODY_TIME).await?;
    door.control.set_weight(shard, request.weight).await.map_err(not_found)?;
    ok(&request)
}

/// `POST /v1/throttle`.
pub(super) async fn throttle(State(door): DoorState, headers: HeaderMap, body: Body) -> Answer {
    let request: Throttle = read_json(&headers, body, BODY_MAX_BYTES, BODY_TIME).await?;
    door.control.throttle_moves(request.bytes_per_second);
    ok(&request)
}

fn number(text: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| Problem::bad_request("a move's id is a number"))
}

fn not_found(error: Error) -> Problem {
    let unknown = error.sqlstate() == SqlState::UNDEFINED_OBJECT;
    let mut problem = Problem::from(error);
    if unknown {
        problem.status = StatusCode::NOT_FOUND;
    }
    problem
}
