"""openapi.json: what can be asked of the service, written down once, by hand."""

from __future__ import annotations

from typing import Any

from dvsprep import wire
from dvsprep.serve.content import MAX_SAMPLES, PER_SAMPLE
from dvsprep.serve.encode import CHUNK, NPY
from dvsprep.serve.problems import MEDIA_TYPE
from dvsprep.version import __version__

Json = dict[str, Any]

ANY: Json = {"type": "object"}
TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer", "minimum": 0}
NUMBER: Json = WHOLE | {"maximum": 1 << 40}
BINARY: Json = {"type": "string", "format": "binary"}
SPEC: Json = {
    "type": "object",
    "required": ["split_by"],
    "additionalProperties": False,
    "properties": {
        "split_by": {"enum": ["number", "time", "duration", "plugin"]},
        "T": {"type": "integer", "minimum": 1, "maximum": 1024},
        "duration": {"type": "integer", "minimum": 100},
        "tail": {"enum": ["keep", "drop"]},
        "plugin": {"type": "string"},
        "params": {"type": "object"},
    },
}


def _object(required: Json, **optional: Json) -> Json:
    return {"type": "object", "required": sorted(required), "properties": required | optional}


SUMMARY = _object(
    {
        "id": TEXT, "version": TEXT, "kind": {"enum": ["frames", "events"]}, "dataset": TEXT, "split": TEXT,
        "samples": WHOLE, "sensor": {"type": "array", "items": WHOLE}, "spec": {"type": ["object", "null"]},
        "classes": WHOLE, "bytes": WHOLE, "events": WHOLE, "key": TEXT, "modified": WHOLE,
    }
)  # fmt: skip
SAMPLE = _object(
    {
        "index": WHOLE, "id": TEXT, "label": WHOLE, "class": TEXT, "events": WHOLE, "microseconds": WHOLE,
        "rows": WHOLE,
    }
)  # fmt: skip
PROBLEM = _object(
    {
        "type": TEXT, "title": TEXT, "status": WHOLE, "detail": TEXT, "hint": {"type": ["string", "null"]},
        "code": TEXT, "exit_code": WHOLE,
    }
)  # fmt: skip
BUILD = _object(
    {
        "id": TEXT, "dataset": TEXT, "spec": ANY, "options": ANY,
        "state": {"enum": ["queued", "running", "done", "failed", "cancelled"]}, "stage": {"type": ["string", "null"]},
        "done": WHOLE, "total": WHOLE, "says": {"type": "array", "items": TEXT}, "caches": ANY,
        "error": {"type": ["object", "null"]}, "created": {"type": "number"},
    }
)  # fmt: skip


def _query(name: str, schema: Json, what: str) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": what}


ID: Json = {"name": "id", "in": "path", "required": True, "schema": TEXT, "description": "As /v1/caches lists it."}
I: Json = {  # noqa: E741
    "name": "i", "in": "path", "required": True, "description": "The sample's number.",
    "schema": NUMBER,
}  # fmt: skip


def _get(summary: str, answers: Json, parameters: list[Json] | None = None, **more: Any) -> Json:
    return {"get": _operation(summary, answers, parameters, **more)}


def _operation(summary: str, answers: Json, parameters: list[Json] | None = None, **more: Any) -> Json:
    problem = {"description": "A problem (RFC 9457).", "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
    return {
        "summary": summary,
        "parameters": parameters or [],
        "responses": answers | {"304": {"description": "Not modified."}, "4XX": problem, "5XX": problem},
        **more,
    }


def _ok(schema: Json, *media: str, status: str = "200") -> Json:
    kinds = media or ("application/json",)
    return {status: {"description": "As asked.", "content": {kind: {"schema": schema} for kind in kinds}}}


def _array(name: str) -> Json:
    answers = _ok(_object({"name": TEXT, "values": {"type": "array"}}))
    answers["200"]["content"][NPY] = {"schema": BINARY}
    format = _query("format", {"enum": ["json", "npy"]}, "Else by the Accept header.")
    return _get(f"{name}, one value a sample.", answers, [ID, format])


def document(*, builds: bool) -> Json:
    """Return the OpenAPI document.

    Parameters
    ----------
    builds : bool
        Whether this service builds caches.
    """
    one = "/v1/caches/{id}"
    paths: Json = {
        "/healthz": _get("Whether the service lives.", _ok(_object({"status": TEXT, "version": TEXT}))),
        "/metrics": _get("Metrics for Prometheus.", _ok(TEXT, "text/plain")),
        "/v1/caches": _get(
            "All caches, and the files that are none.",
            _ok(
                _object(
                    {
                        "service": TEXT,
                        "version": TEXT,
                        "builds": {"type": "boolean"},
                        "plugins": {"type": "array", "items": TEXT},
                        "caches": {"type": "array", "items": SUMMARY},
                        "refused": {"type": "array", "items": _object({"id": TEXT, "why": TEXT})},
                    }
                )
            ),
        ),
        one: _get("Everything about a cache but its samples.", _ok(ANY), [ID]),
        f"{one}/labels": _array("Labels"),
        f"{one}/arrays/{{name}}": _array("Any of the small arrays"),
        f"{one}/samples": _get(
            "Facts of samples, page by page.",
            _ok(
                _object(
                    {"total": WHOLE, "offset": WHOLE, "limit": WHOLE, "samples": {"type": "array", "items": SAMPLE}}
                )
            ),
            [
                ID,
                _query("class", {"type": "array", "items": TEXT}, "Names or numbers of classes."),
                _query("split", TEXT, "Nothing is found if it is not the cache's."),
                _query("offset", NUMBER, "Samples to pass over."),
                _query("limit", {"type": "integer", "minimum": 1, "maximum": 1000}, "Samples to tell of; 100."),
            ],
        ),
        f"{one}/samples/{{i}}": _get(
            "One sample: its stored chunk, framed chunks if it has several, or .npy.",
            _ok(BINARY, CHUNK, NPY, wire.MEDIA_TYPE),
            [ID, I, _query("format", {"enum": ["chunk", "npy", "framed"]}, "Else by the Accept header.")],
        ),
        f"{one}/samples/{{i}}/facts": _get("One sample's facts.", _ok(SAMPLE), [ID, I]),
        f"{one}/batch": {
            "get": _operation(
                "As many samples in one message as an address holds.",
                _ok(BINARY, wire.MEDIA_TYPE),
                [ID, _query("i", {"type": "array", "items": NUMBER}, "Numbers of samples.")],
            ),
            "post": _operation(
                "Many samples in one message.",
                _ok(BINARY, wire.MEDIA_TYPE),
                [ID],
                requestBody=_body(
                    _object(
                        {"samples": {"type": "array", "items": WHOLE | {"maximum": 1 << 40}, "maxItems": MAX_SAMPLES}}
                    )
                    | {"additionalProperties": False}
                ),
            ),
        },
        f"{one}/file": _get(
            "The HDF5 file, or a range of it.",
            _ok(BINARY, CHUNK) | _ok(BINARY, CHUNK, status="206"),
            [ID],
        ),
        f"{one}/digest": _get(
            "SHA-256 of the file.", _ok(_object({"file": TEXT, "bytes": WHOLE, "sha256": TEXT})), [ID]
        ),
    }
    arrays = paths[f"{one}/arrays/{{name}}"]["get"]["parameters"]
    arrays.append({"name": "name", "in": "path", "required": True, "schema": {"enum": list(PER_SAMPLE)}})
    if builds:
        paths |= _builds()
    return {
        "openapi": "3.1.0",
        "info": {"title": "dvsprep serve", "version": __version__},
        "paths": paths,
    }


def _body(schema: Json) -> Json:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _builds() -> Json:
    id = {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": TEXT | {"pattern": "^[0-9a-f]{16}$"},
        "description": "As POST told it.",
    }
    asked = _object(
        {"dataset": TEXT, "spec": SPEC},
        split={"type": ["number", "string", "null"], "description": "A fraction or the name of a published split."},
        seed={"type": "integer"},
        instances={"enum": ["rows", "first", "merged"]},
    ) | {"additionalProperties": False}
    one = "/v1/builds/{id}"
    return {
        "/v1/builds": {
            "get": _operation("All builds.", _ok(_object({"builds": {"type": "array", "items": BUILD}}))),
            "post": _operation(
                "Build the frame caches of a dataset; who asks again is told of the same build.",
                _ok(BUILD) | _ok(BUILD, status="202"),
                requestBody=_body(asked),
            ),
        },
        one: {
            "get": _operation("A build.", _ok(BUILD), [id]),
            "delete": _operation("Cancel a build; what it has done is kept.", _ok(BUILD), [id]),
        },
        f"{one}/events": _get(
            "Server-sent events: the build whenever it changes.", _ok(TEXT, "text/event-stream"), [id]
        ),
    }
